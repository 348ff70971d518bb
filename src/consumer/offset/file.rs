//! The file of a broadcasting consumer's offsets, at the place and in the form of Java's client.
//!
//! It is replaced as a whole and never written in place; what was there before stays as a backup. Does not know: when it is written,
//! and what the offsets are for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fs4::TryLockError;
use parking_lot::Mutex;
use tracing::warn;

use crate::protocol::message::OffsetTable;

const NAME: &str = "offsets.json";
const BACKUP: &str = "offsets.json.bak";
const TEMPORARY: &str = "offsets.json.tmp";
const LOCK: &str = "offsets.json.lock";

/// A larger file is not ours.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

/// The file, and that nobody else has it.
#[derive(Debug)]
pub(super) struct OffsetFile {
    folder: PathBuf,
    try_lock: TryLock,
    state: Mutex<State>,
}

/// How a file is locked.
type TryLock = fn(&File) -> Result<(), TryLockError>;

#[derive(Debug, Default)]
struct State {
    /// Held as long as the file is ours. `None` where the folder takes no file, or knows no locks.
    lock: Option<File>,
    /// That it knows no locks was said.
    knows_no_locks: bool,
    /// The file is whole, so that it is worth a place as the backup.
    is_whole: bool,
}

/// What is in a file.
enum Found {
    Nothing,
    Table(OffsetTable),
    Damaged(String),
}

impl OffsetFile {
    /// The file in a folder, which is made when something is written.
    ///
    /// # Errors
    /// `WouldBlock`: somebody else has it. A folder that takes no file is no error.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        Self::open_with(folder, fs4::FileExt::try_lock)
    }

    fn open_with(folder: PathBuf, try_lock: TryLock) -> io::Result<Self> {
        let file = Self {
            folder,
            try_lock,
            state: Mutex::default(),
        };
        let locked = file.lock(&mut file.state.lock());
        match locked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(file),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// The offsets in the file, else in its backup, else none; with a warning when the file should have been better.
    pub(super) fn read(&self) -> OffsetTable {
        let path = self.path();
        let why = match find(&path) {
            Found::Table(table) => {
                self.state.lock().is_whole = true;
                return table;
            }
            Found::Nothing => None,
            Found::Damaged(why) => Some(why),
        };
        match (why, find(&self.folder.join(BACKUP))) {
            // A crash between taking the old file away and putting the new one in its place.
            (None, Found::Table(table)) => table,
            (None, Found::Nothing) => OffsetTable::default(),
            (why, Found::Table(table)) => {
                let why = why.unwrap_or_default();
                warn!(path = %path.display(), why, "the offset file is damaged; its backup is used");
                table
            }
            (why, backup) => {
                let backup = match backup {
                    Found::Damaged(why) => why,
                    _ => "there is none".to_owned(),
                };
                let why = why.unwrap_or_else(|| "there is none".to_owned());
                warn!(
                    path = %path.display(),
                    why,
                    backup,
                    "neither the offset file nor its backup can be read; consumption begins as if there was none"
                );
                OffsetTable::default()
            }
        }
    }

    /// Replaces the file. When this returns, the new one is on the disk; when it fails, the old one or its backup still is.
    pub(super) fn write(&self, contents: &[u8]) -> io::Result<()> {
        let state = &mut *self.state.lock();
        self.lock(state)?;
        let (temporary, path) = (self.folder.join(TEMPORARY), self.path());
        let mut file = File::create(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        drop(file);
        if state.is_whole {
            match fs::rename(&path, self.folder.join(BACKUP)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => state.is_whole = false,
            }
        }
        fs::rename(&temporary, &path)?;
        state.is_whole = true;
        sync(&self.folder)
    }

    /// Makes the folder, and sees to it that the file is ours, as far as the file system knows locks.
    fn lock(&self, state: &mut State) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        if state.lock.is_some() {
            return Ok(());
        }
        let path = self.folder.join(LOCK);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        // In a folder that is read-only it may be there already.
        let file = file.or_else(|error| File::open(&path).map_err(|_| error))?;
        match (self.try_lock)(&file) {
            Ok(()) => {
                state.lock = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => {
                if !std::mem::replace(&mut state.knows_no_locks, true) {
                    let path = path.display();
                    warn!(%path, %error, "the file cannot be locked; see to it that no other consumer keeps its offsets there");
                }
                Ok(())
            }
        }
    }
}

fn find(path: &Path) -> Found {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
        Err(error) => Found::Damaged(error.to_string()),
        Ok(_) => match OffsetTable::decode(&text) {
            Ok(table) => Found::Table(table),
            Err(error) => Found::Damaged(error.to_string()),
        },
    }
}

/// Sees to it that a folder's entries are on the disk.
fn sync(folder: &Path) -> io::Result<()> {
    // Other systems do not open folders.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::protocol::message::MessageQueue;

    fn table(offset: i64) -> OffsetTable {
        let queue = |id| MessageQueue::new("t", "broker-a", id);
        OffsetTable {
            offset_table: (0..3).map(|id| (queue(id), offset)).collect(),
        }
    }

    fn put(dir: &TempDir, name: &str, contents: &[u8]) {
        fs::write(dir.path().join(name), contents).unwrap();
    }

    fn read(dir: &TempDir) -> OffsetTable {
        OffsetFile::open(dir.path().to_owned()).unwrap().read()
    }

    /// Whatever was there before, the file can be replaced, and what is damaged is no backup then.
    fn goes_on(dir: &TempDir) {
        let file = OffsetFile::open(dir.path().to_owned()).unwrap();
        let before = file.read();
        file.write(&table(900).encode()).unwrap();
        assert_eq!(file.read(), table(900));
        file.write(&table(901).encode()).unwrap();
        drop(file);
        assert_eq!(read(dir), table(901));
        fs::remove_file(dir.path().join(NAME)).unwrap();
        let backup = read(dir);
        assert!(backup == table(900) || backup == before, "{backup:?}");
    }

    #[test]
    fn f21_a_write_that_is_cut_off_at_any_byte_leaves_the_file_that_was_there() {
        let (old, new) = (table(7).encode(), table(8).encode());
        for cut in 0..=new.len() {
            let dir = tempfile::tempdir().unwrap();
            put(&dir, NAME, &old);
            put(&dir, TEMPORARY, &new[..cut]);
            assert_eq!(read(&dir), table(7), "{cut}");
            if cut % 16 == 0 {
                goes_on(&dir);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        put(&dir, BACKUP, &old);
        put(&dir, TEMPORARY, &new);
        assert_eq!(read(&dir), table(7), "between the two renames");
        goes_on(&dir);
    }

    #[test]
    fn f21_a_file_that_is_damaged_anyhow_is_made_good_by_its_backup() {
        let (old, new) = (table(7).encode(), table(8).encode());
        let damages = (0..new.len())
            .map(|cut| new[..cut].to_vec())
            .chain((0..new.len()).map(|from| {
                let mut zeroed = new.clone();
                zeroed[from..].fill(0);
                zeroed
            }))
            .chain([
                vec![0; new.len()],
                b"garbage".to_vec(),
                vec![0xFF; 4096],
                b"{\"offsetTable\":[]}".to_vec(),
                [&new[..], b"}"].concat(),
            ]);
        for (at, damaged) in damages.enumerate() {
            let dir = tempfile::tempdir().unwrap();
            put(&dir, NAME, &damaged);
            assert_eq!(read(&dir), OffsetTable::default());
            put(&dir, BACKUP, &damaged);
            assert_eq!(read(&dir), OffsetTable::default());
            put(&dir, BACKUP, &old);
            assert_eq!(read(&dir), table(7));
            if at % 16 == 0 {
                goes_on(&dir);
            }
        }
    }

    #[test]
    fn what_was_there_before_is_the_backup() {
        let dir = tempfile::tempdir().unwrap();
        let file = OffsetFile::open(dir.path().join("a").join("b")).unwrap();
        assert_eq!(file.read(), OffsetTable::default());
        for offset in 1..4 {
            file.write(&table(offset).encode()).unwrap();
            let kept = fs::read(file.folder.join(NAME)).unwrap();
            assert_eq!(kept, table(offset).encode());
            let backup = fs::read(file.folder.join(BACKUP)).ok();
            assert_eq!(backup, (offset > 1).then(|| table(offset - 1).encode()));
            assert!(!file.folder.join(TEMPORARY).exists());
        }
        // Somebody cleaned up meanwhile.
        fs::remove_dir_all(&file.folder).unwrap();
        file.write(&table(9).encode()).unwrap();
        assert_eq!(file.read(), table(9));
    }

    #[test]
    fn a_second_holder_is_kept_out_as_long_as_there_is_a_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = OffsetFile::open(dir.path().to_owned()).unwrap();
        let refused = OffsetFile::open(dir.path().to_owned()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        OffsetFile::open(dir.path().to_owned()).unwrap();
    }

    #[test]
    fn a_folder_that_knows_no_locks_takes_the_file_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let no_locks: TryLock = |_| Err(TryLockError::Error(io::ErrorKind::Unsupported.into()));
        let file = OffsetFile::open_with(dir.path().to_owned(), no_locks).unwrap();
        for offset in 1..3 {
            file.write(&table(offset).encode()).unwrap();
            assert_eq!(file.read(), table(offset));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn f22_a_full_disk_leaves_the_file_that_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = OffsetFile::open(dir.path().to_owned()).unwrap();
        file.write(&table(7).encode()).unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join(TEMPORARY)).unwrap();
        let error = file.write(&table(8).encode()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.read(), table(7));
        fs::remove_file(dir.path().join(TEMPORARY)).unwrap();
        file.write(&table(8).encode()).unwrap();
        assert_eq!(file.read(), table(8));
    }

    #[test]
    fn f22_a_folder_that_cannot_be_made_is_tried_again_at_every_write() {
        let dir = tempfile::tempdir().unwrap();
        put(&dir, "occupied", b"");
        let file = OffsetFile::open(dir.path().join("occupied").join("g")).unwrap();
        assert_eq!(file.read(), OffsetTable::default());
        file.write(&table(7).encode()).unwrap_err();
        fs::remove_file(dir.path().join("occupied")).unwrap();
        file.write(&table(8).encode()).unwrap();
        assert_eq!(file.read(), table(8));
    }
}
