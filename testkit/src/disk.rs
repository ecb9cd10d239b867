//! A small disk of its own for a node, which can be filled and frozen.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::{NodeBuilder, Temporary, temporary};

/// An ext4 file system in a file, mounted where only this test sees it: the
/// mount goes away with the process that holds it, which ends with this one.
pub struct SmallDisk {
    holder: Child,
    directory: Temporary,
}

impl SmallDisk {
    /// `None` where mounting is not allowed.
    pub fn new(mib: u64) -> Option<Self> {
        let directory = temporary();
        let image = directory.path().join("image");
        let mount = directory.path().join("mount");
        fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
        fs::create_dir(&mount).unwrap();
        let format = Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image).output();
        if !format.is_ok_and(|output| output.status.success()) {
            println!("skipped: mkfs.ext4 is not here");
            return None;
        }
        // It ends with the test, however that ends, and leaves nothing that hangs.
        let script = "mount -o loop \"$1\" \"$2\" && echo mounted && { cat; fsfreeze -u \"$2\" 2>/dev/null; }";
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .args([&image, &mount])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.trim() != "mounted" {
            println!("skipped: mounting is not allowed");
            let _ = holder.wait();
            return None;
        }
        Some(Self { holder, directory })
    }

    fn mount(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    /// The mounted directory, as it is reached from outside.
    pub fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.mount().strip_prefix("/").unwrap())
    }

    pub fn node(&self) -> NodeBuilder {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        NodeBuilder::bare(&self.directory, &self.mount().join("data"))
            .flags(&["--max-body", "1MiB", "--max-batch", "1000", "--segment-size", "2MiB"])
            .launcher(&["nsenter", &namespace])
    }

    /// Takes all the space that is left. Space that was freed shortly before is there
    /// only once that is durable, so it is looked for until there is none.
    pub fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).unwrap();
        let mut written = 1;
        while written > 0 {
            written = 0;
            for piece in [1 << 20, 4096, 1] {
                while let Ok(count @ 1..) = ballast.write(&vec![0x55; piece]) {
                    written += count;
                }
            }
            let _ = ballast.sync_all();
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    /// Has whatever writes there hang, until what is given back is dropped. `None` where
    /// that is not allowed.
    pub fn freeze(&self) -> Option<Frozen> {
        let frozen = Frozen(self.outside());
        let status = Command::new("fsfreeze").arg("-f").arg(&frozen.0).status();
        if status.is_ok_and(|status| status.success()) {
            return Some(frozen);
        }
        println!("skipped: fsfreeze does not work here");
        None
    }

    fn ballast(&self) -> PathBuf {
        self.outside().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// A file system that is frozen. A process that writes there cannot even be killed, so
/// this must be dropped before the nodes are.
pub struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).status();
    }
}
