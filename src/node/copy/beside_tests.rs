use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::*;
use crate::{
    io::{
        Disk as _,
        net::Listener,
        simulated::{disk::SimDisk, executor::run},
    },
    log::{Contents, Entry, entry_head},
    node::copy::{of::CopyOf, origins::Origins, standing::Why},
};

const ORIGIN: &str = "node-1:9000";
const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(5));

/// A part of a batch in which so many ids went to others.
fn others(ids: u32) -> Bytes {
    let mut part = BytesMut::zeroed(40);
    part[0] = 6;
    part[16] = 1;
    part[24] = 1;
    part[36..].copy_from_slice(&ids.to_le_bytes());
    part.freeze()
}

/// An origin that answers each request with all of these entries.
fn serve(entries: &[Entry]) {
    let mut body = Vec::new();
    for entry in entries {
        body.extend_from_slice(&entry_head(entry));
        body.extend_from_slice(&entry.payload);
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nChangeAgent-Cluster: {CLUSTER}\r\n\
         ChangeAgent-Log-Leader: 1\r\nChangeAgent-Log-Applied: {}\r\n\r\n",
        body.len(),
        entries.len() - 1,
    );
    let listener = Listener::simulated(ORIGIN).unwrap();
    cores::spawn(async move {
        let stream = listener.accept().await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_onto(&mut request, 4096).await.unwrap();
        }
        let answer = [head.as_bytes(), &body].concat();
        let mut rest = &*answer;
        while !rest.is_empty() {
            let written = stream.write(&[io::IoSlice::new(rest)]).await.unwrap();
            rest = &rest[written..];
        }
        // The other end closes the connection.
        let _ = stream.read_onto(&mut request, 4096).await;
    });
}

#[test]
fn a_segment_ends_before_it_spans_more_ids_than_its_index_tells_apart() {
    run(1, async {
        // More in all than 32 bits count, in a few bytes.
        let entry =
            |index| Entry { id: LogId { term: 1, index }, kind: 2, payload: others(1 << 27) };
        let entries: Vec<Entry> = (0..40).map(entry).collect();
        serve(&entries);
        let files = SimDisk::new(1).files();
        let (tenants, stale_max, token) = (Vec::new(), Duration::ZERO, None);
        let all = vec![ORIGIN.to_owned()];
        let origins =
            Origins::new(&CopyOf { origins: all, caller: None, tenants, stale_max, token });
        let lengths = Lengths { entry: 1 << 20, segment: 1 << 20 };
        let own = (ClusterId(Uuid::from_u128(1)), None);
        let watch = Watch::new(&origins, Why::OtherHistory, own, lengths.entry);
        build(&files, CLUSTER, &watch, lengths).await.unwrap();
        let (mut contents, mut found) = (Contents::skipping(None), 0);
        for sequence in 1.. {
            let name = format!("{}{STAGED}", log::file_name(sequence));
            let Ok(bytes) = files.read(&name) else { break };
            let entries = contents.segment(sequence, &bytes.into()).unwrap();
            let ids: u64 = entries.iter().filter_map(sound_changes_in).sum();
            assert!(ids <= SEGMENT_IDS, "segment {sequence} has {ids}");
            found += entries.len();
        }
        assert_eq!(found, entries.len());
    });
}
