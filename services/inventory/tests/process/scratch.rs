//! A folder for one test, empty at first, gone at the end; left as it is when the test fails, for whoever looks into it.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// The folder of the test `name`, without what an earlier run may have left.
    pub(crate) fn new(name: &str) -> Scratch {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("process").join(name);
        if path.exists() {
            fs::remove_dir_all(&path).expect("an earlier run's folder can be removed");
        }
        fs::create_dir_all(&path).expect("a folder for the test can be made");
        Scratch(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the failed test's folder is kept: {}", self.0.display());
        } else if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// The names in a folder, sorted; none if there is no such folder.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("a folder can be listed").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
