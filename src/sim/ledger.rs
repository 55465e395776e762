//! The ledger: one JSON line for each accepted message, on disk before anybody hears of it. An oracle for crash tests, so
//! it writes in order, appends to what is there, and syncs many lines with one `fdatasync`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use tokio::sync::oneshot;

/// Lines that one sync takes at most.
const GROUP: usize = 4096;

pub(super) struct Ledger {
    lines: Sender<Line>,
}

struct Line {
    bytes: Vec<u8>,
    written: oneshot::Sender<io::Result<()>>,
}

impl Ledger {
    /// Opens the file for appending, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (lines, queue) = mpsc::channel();
        thread::Builder::new().name("sim-ledger".into()).spawn(move || write(file, &queue))?;
        Ok(Self { lines })
    }

    /// Queues a line; what it gives resolves when the line is on disk. Lines are written in the order of these calls.
    pub(super) fn append(&self, bytes: Vec<u8>) -> oneshot::Receiver<io::Result<()>> {
        let (written, done) = oneshot::channel();
        // A writer that is gone shows as a dropped sender, which the caller takes for a failure.
        drop(self.lines.send(Line { bytes, written }));
        done
    }
}

fn write(mut file: File, queue: &Receiver<Line>) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        group.extend(queue.try_iter().take(GROUP - 1));
        let mut bytes = Vec::with_capacity(group.len() * 512);
        for line in &group {
            bytes.extend_from_slice(&line.bytes);
            bytes.push(b'\n');
        }
        let result = file.write_all(&bytes).and_then(|()| file.sync_data());
        for line in group {
            let told = match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            // Nobody may be waiting any more; the line is on disk all the same.
            drop(line.written.send(told));
        }
    }
}
