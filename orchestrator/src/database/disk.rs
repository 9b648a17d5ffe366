//! A disk that can be full, for tests.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{Builder, StorageBackend};

use super::Reopening;

/// Whether there is room on a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    is_full: Arc<AtomicBool>,
}

impl Disk {
    /// Fills it, or makes room.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    /// A database in a file on it.
    pub(crate) fn open(&self, file: &Path) -> Reopening {
        let (disk, file) = (self.clone(), PathBuf::from(file));
        Reopening::new(move || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file)?;
            let file = FileBackend::new(file)?;
            Builder::new().create_with_backend(OnDisk { file, disk: disk.clone() })
        })
        .unwrap()
    }

    fn room(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// A file on such a disk.
#[derive(Debug)]
struct OnDisk {
    file: FileBackend,
    disk: Disk,
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.room()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.room()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
