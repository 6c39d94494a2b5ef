//! A `Cargo.toml`, read as far as the rules ask: the package's name, and what it depends on.

use super::tree::folder_of;

/// A manifest.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) path: String,
    /// The package's name; empty for the workspace's.
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
}

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Build,
    Dev,
    /// A line of `[workspace.dependencies]`: it says where from, and is no use yet.
    Workspace,
}

/// One dependency.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) kind: Kind,
    /// As the code names it, with `-` for `_`.
    pub(super) name: String,
    pub(super) line: usize,
    /// Whether a path is given: it is a crate of this workspace.
    pub(super) has_path: bool,
}

impl Manifest {
    pub(super) fn new(path: &str, text: &str) -> Manifest {
        let mut manifest = Manifest { path: path.to_owned(), name: String::new(), dependencies: Vec::new() };
        let mut section = Section::Other;
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let line = without_comment(line).trim();
            if line.starts_with('[') {
                section = section_of(line);
                if let Section::Of(kind, Some(name)) = &section {
                    let (kind, name) = (*kind, name.clone());
                    manifest.dependencies.push(Dependency { kind, name, line: number + 1, has_path: false });
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let mut value = value.trim().to_owned();
            while is_open(&value) {
                let Some((_, more)) = lines.next() else { break };
                value.push_str(without_comment(more).trim());
            }
            manifest.take(&section, key.trim(), &value, number + 1);
        }
        manifest
    }

    /// The folder of the package.
    pub(super) fn folder(&self) -> &str {
        folder_of(&self.path)
    }

    fn take(&mut self, section: &Section, key: &str, value: &str, line: usize) {
        match section {
            Section::Package if key == "name" => value.trim_matches('"').clone_into(&mut self.name),
            Section::Of(kind, None) => {
                let (name, rest) = key.split_once('.').unwrap_or((key, ""));
                let has_path = rest == "path" || value.starts_with('{') && has_key(value, "path");
                self.dependencies.push(Dependency { kind: *kind, name: name.trim_matches('"').to_owned(), line, has_path });
            }
            Section::Of(_, Some(_)) if key == "path" => {
                if let Some(dependency) = self.dependencies.last_mut() {
                    dependency.has_path = true;
                }
            }
            Section::Package | Section::Of(..) | Section::Other => {}
        }
    }
}

enum Section {
    Package,
    /// Dependencies; with a name, the one that the section is about.
    Of(Kind, Option<String>),
    Other,
}

/// What `[dependencies]`, `[target.'cfg(unix)'.dev-dependencies]` or `[dependencies.name]` opens.
fn section_of(line: &str) -> Section {
    let title = line.trim_matches(['[', ']']);
    if title == "package" {
        return Section::Package;
    }
    let in_workspace = title.starts_with("workspace.");
    let kind_of = |word: &str| match word {
        "dependencies" if in_workspace => Some(Kind::Workspace),
        "dependencies" => Some(Kind::Normal),
        "build-dependencies" => Some(Kind::Build),
        "dev-dependencies" => Some(Kind::Dev),
        _ => None,
    };
    let (before, last) = title.rsplit_once('.').unwrap_or(("", title));
    if let Some(kind) = kind_of(last) {
        return Section::Of(kind, None);
    }
    let kind = kind_of(before.rsplit_once('.').map_or(before, |(_, word)| word));
    kind.map_or(Section::Other, |kind| Section::Of(kind, Some(last.trim_matches('"').to_owned())))
}

/// The line before a `#` that is not in a string.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

/// Whether a value goes on in the next line.
fn is_open(value: &str) -> bool {
    let count = |c: char| value.matches(c).count();
    count('[') > count(']') || count('{') > count('}')
}

/// Whether an inline table has a key.
fn has_key(table: &str, key: &str) -> bool {
    table.trim_start_matches('{').split(',').any(|pair| pair.split_once('=').is_some_and(|(name, _)| name.trim() == key))
}

#[cfg(test)]
mod tests {
    use super::{Dependency, Kind, Manifest};

    #[test]
    fn names_kinds_and_paths_are_read() {
        let manifest = Manifest::new(
            "crates/a/Cargo.toml",
            "[package]\nname = \"a\" # \"x\"\n[lints]\nworkspace = true\n[dependencies]\n# none = \"1\"\nb.workspace = true\n\
             c = { version = \"1\", features = [\n  \"d = e\",\n] }\nf = { path = \"../f\" }\n\
             [target.'cfg(unix)'.dev-dependencies]\ng = \"1\"\n[build-dependencies.h]\nversion = \"1\"\npath = \"../h\"\n[[bin]]\nname = \"i\"\n",
        );
        assert_eq!((manifest.name.as_str(), manifest.folder()), ("a", "crates/a"));
        let dependency = |kind, name: &str, line, has_path| Dependency { kind, name: name.to_owned(), line, has_path };
        assert_eq!(
            manifest.dependencies,
            [
                dependency(Kind::Normal, "b", 7, false),
                dependency(Kind::Normal, "c", 8, false),
                dependency(Kind::Normal, "f", 11, true),
                dependency(Kind::Dev, "g", 13, false),
                dependency(Kind::Build, "h", 14, true),
            ]
        );
    }

    #[test]
    fn the_workspace_says_where_from() {
        let manifest = Manifest::new("Cargo.toml", "[workspace.dependencies]\na = { path = \"crates/a\" }\nb = \"1\"\n");
        let found: Vec<_> = manifest.dependencies.iter().map(|found| (found.kind, found.name.as_str(), found.has_path)).collect();
        assert_eq!(found, [(Kind::Workspace, "a", true), (Kind::Workspace, "b", false)]);
    }
}
