//! The files that the rules look at: what git tracks, and what it would track if it were added.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use super::manifest::Manifest;
use super::rust::RustFile;

/// What git, a build and a run make in the root.
const NOT_OURS: [&str; 3] = [".git", "target", "data"];

/// The text files of the workspace, by their path from its root.
pub(super) struct Tree {
    texts: BTreeMap<String, String>,
    /// Files that are not UTF-8; they are there, and no rule reads them.
    others: Vec<String>,
    rust: Vec<RustFile>,
    manifests: Vec<Manifest>,
}

impl Tree {
    /// Reads a workspace.
    pub(super) fn read(root: &Path) -> Result<Tree, String> {
        let mut texts = BTreeMap::new();
        let mut others = Vec::new();
        for path in listed(root)? {
            let Ok(bytes) = fs::read(root.join(&path)) else {
                continue; // Removed and not yet committed, or a folder of its own.
            };
            match String::from_utf8(bytes) {
                Ok(text) => drop(texts.insert(path, text)),
                Err(_) => others.push(path),
            }
        }
        Ok(Tree::new(texts, others))
    }

    /// A tree for tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Tree {
        Tree::new(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(), Vec::new())
    }

    fn new(texts: BTreeMap<String, String>, others: Vec<String>) -> Tree {
        let rust = texts.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(path, text)| RustFile::new(path, text));
        let manifests = texts.iter().filter(|(path, _)| file_name(path) == "Cargo.toml").map(|(path, text)| Manifest::new(path, text));
        Tree { rust: rust.filter(|file| !file.generated).collect(), manifests: manifests.collect(), texts, others }
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len() + self.others.len()
    }

    /// The text of a file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Path and text of every text file.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The Rust files that were written by hand.
    pub(super) fn rust(&self) -> impl Iterator<Item = &RustFile> {
        self.rust.iter()
    }

    /// The manifests of packages, and the workspace's.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.manifests.iter()
    }

    /// Whether a file or a folder has this path.
    pub(super) fn has(&self, path: &str) -> bool {
        let in_folder = |name: &String| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        path.is_empty() || self.texts.keys().any(in_folder) || self.others.iter().any(in_folder)
    }
}

/// The part of a path behind the last `/`.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The part of a path before the last `/`.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// What git lists; without git, or a repository that it will read, every file that is not made by a build or a run.
fn listed(root: &Path) -> Result<Vec<String>, String> {
    let git = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    match Command::new("git").args(git).current_dir(root).output() {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).map_err(|_| "a file's name is not UTF-8; rename it".to_owned())?;
            Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
        }
        Ok(_) | Err(_) => {
            let mut paths = Vec::new();
            walk(root, "", &mut paths).map_err(|error| format!("the workspace cannot be read: {error}"))?;
            Ok(paths)
        }
    }
}

/// Adds the paths of the files in a folder and below it.
fn walk(root: &Path, folder: &str, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if NOT_OURS.contains(&path.as_str()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(root, &path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{NOT_OURS, listed, walk};

    #[test]
    fn a_walk_finds_what_git_lists() {
        let listed = listed(crate::root()).expect("the workspace can be read");
        let mut walked = Vec::new();
        walk(crate::root(), "", &mut walked).expect("the workspace can be read");
        let here = |path: &String| crate::root().join(path).is_file();
        let missed: Vec<&String> = listed.iter().filter(|path| here(path) && !walked.contains(path)).collect();
        assert!(missed.is_empty(), "missed: {missed:?}");
        assert!(!walked.iter().any(|path| path.starts_with(NOT_OURS[1])), "what a build makes is not walked");
    }
}
