//! What it costs to check a body, to render changes and to assemble answers.
//!
//! `scanner` is the way bodies are read; `simd-json` validates with reused
//! buffers on a copy of the input, as it needs to write to it, and then finds
//! the end of the value in text that is known to be valid.

use changeagent::api::body::{Scope, parse};
use changeagent::api::json::{compact, validate};
use changeagent::api::read::answer::{Frame, ListAnswer};
use changeagent::api::request::content_type::Form;
use changeagent::base::ids::{ChangeId, Timestamp};
use changeagent::base::limits::Limits;
use changeagent::state::index::Catalog;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const SIZES: [(&str, usize); 5] =
    [("100B", 100), ("256B", 256), ("4KiB", 4 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20)];

/// An object of about `bytes` bytes made of small records, as a service posts.
fn records(bytes: usize) -> String {
    let mut out = String::from(r#"{"data":{"items":["#);
    let mut n = 0;
    while n == 0 || out.len() + 90 < bytes {
        if n > 0 {
            out.push(',');
        }
        out.push_str(&format!(
            r#"{{"id":{},"name":"item number {n}","price":{}.25,"on":true,"at":null}}"#,
            n * 7919,
            n % 1000
        ));
        n += 1;
    }
    out.push_str("],\"note\":\"");
    while out.len() + 4 < bytes {
        out.push('x');
    }
    out.push_str("\"}}");
    out
}

/// An object of about `bytes` bytes that is mostly long text.
fn prose(bytes: usize) -> String {
    let mut out = String::from(r#"{"data":{"text":""#);
    while out.len() + 64 < bytes {
        out.push_str("Plain words and, now and then, a \\\"quoted\\\" one; naïve.\\n");
    }
    out.push_str("\"}}");
    out
}

/// The end of the value that starts `json`, which must be valid.
fn value_end(json: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(&byte) = json.get(at) {
        at += 1;
        match byte {
            b'"' => {
                while let Some(&byte) = json.get(at) {
                    at += 1;
                    match byte {
                        b'"' => break,
                        b'\\' => at += 1,
                        _ => (),
                    }
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            _ => (),
        }
    }
    at
}

fn validation(c: &mut Criterion) {
    type Make = fn(usize) -> String;
    for (kind, make) in [("records", records as Make), ("prose", prose as Make)] {
        let mut group = c.benchmark_group(format!("validate/{kind}"));
        for (label, bytes) in SIZES {
            let text = make(bytes);
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_with_input(BenchmarkId::new("scanner", label), &text, |b, text| {
                b.iter(|| validate(black_box(text.as_bytes()), 128).is_ok());
            });
            let mut buffers = simd_json::Buffers::new(text.len());
            let mut tape = simd_json::Tape::null().reset();
            let mut copy = Vec::with_capacity(text.len());
            group.bench_with_input(BenchmarkId::new("simd-json only", label), &text, |b, text| {
                b.iter(|| {
                    copy.clear();
                    copy.extend_from_slice(black_box(text.as_bytes()));
                    let mut reused = std::mem::replace(&mut tape, simd_json::Tape::null()).reset();
                    let ok = simd_json::fill_tape(&mut copy, &mut buffers, &mut reused).is_ok();
                    tape = reused.reset();
                    ok
                });
            });
            group.bench_with_input(BenchmarkId::new("simd-json", label), &text, |b, text| {
                b.iter(|| {
                    copy.clear();
                    copy.extend_from_slice(black_box(text.as_bytes()));
                    let mut reused = std::mem::replace(&mut tape, simd_json::Tape::null()).reset();
                    let ok = simd_json::fill_tape(&mut copy, &mut buffers, &mut reused).is_ok();
                    tape = reused.reset();
                    (ok, value_end(text.as_bytes()))
                });
            });
        }
        group.finish();
    }
}

fn bodies(c: &mut Criterion) {
    let (limits, scope, catalog) = (Limits::default(), Scope::default(), Catalog::default());
    let mut group = c.benchmark_group("body");
    for (label, bytes) in &SIZES[..4] {
        let text = records(*bytes);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::new("one", label), &text, |b, text| {
            b.iter(|| {
                parse(black_box(text.as_bytes()), Form::Json, &limits, &scope, (&catalog).into())
                    .is_ok()
            });
        });
    }
    let tagged = records(200).replacen('{', r#"{"tags":["orders","eu-west"],"#, 1);
    group.throughput(Throughput::Bytes(tagged.len() as u64));
    group.bench_function("one tagged 256B", |b| {
        b.iter(|| {
            parse(black_box(tagged.as_bytes()), Form::Json, &limits, &scope, (&catalog).into())
                .is_ok()
        });
    });
    let lines = format!("{}\n", records(256)).repeat(1000);
    group.throughput(Throughput::Bytes(lines.len() as u64));
    group.bench_function("1000 lines of 256B", |b| {
        b.iter(|| {
            parse(black_box(lines.as_bytes()), Form::Ndjson, &limits, &scope, (&catalog).into())
                .is_ok()
        });
    });
    let spaced = serde_json::from_str::<serde_json::Value>(&records(64 << 10))
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_default();
    group.throughput(Throughput::Bytes(spaced.len() as u64));
    group.bench_function("one indented 64KiB", |b| {
        b.iter(|| {
            parse(black_box(spaced.as_bytes()), Form::Json, &limits, &scope, (&catalog).into())
                .is_ok()
        });
    });
    group.bench_function("compact 64KiB", |b| {
        let mut out = Vec::with_capacity(spaced.len());
        b.iter(|| {
            out.clear();
            compact(&mut out, black_box(spaced.as_bytes()));
            out.len()
        });
    });
    group.finish();
}

fn answers(c: &mut Criterion) {
    let suffix = format!(",\"data\":{}}}", records(240));
    let mut group = c.benchmark_group("answer");
    for changes in [100u64, 10_000] {
        group.throughput(Throughput::Elements(changes));
        group.bench_function(BenchmarkId::from_parameter(changes), |b| {
            b.iter(|| {
                let mut list = ListAnswer::new(Frame::Changes, changes as usize);
                for id in 1_000_000..1_000_000 + changes {
                    let at = Timestamp(1_784_873_643_123_456);
                    if !list.push(ChangeId(id), at, black_box(suffix.as_bytes())) {
                        break;
                    }
                }
                list.finish(false, true, ChangeId(1_000_000 + changes))
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = json;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(1000))
        .sample_size(30);
    targets = validation, bodies, answers
}
criterion_main!(json);
