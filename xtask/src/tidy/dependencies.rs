//! DEPENDENCIES.md against the manifests, and the manifests against the code.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::manifest::{Dependency, Kind, Manifest};
use super::tree::Tree;

const PAGE: &str = "DEPENDENCIES.md";

/// Every external dependency has its one line, and every line its dependency.
pub(super) fn listed(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, line) in tree.text(PAGE).unwrap_or("").lines().enumerate() {
        let Some((name, words)) = line.strip_prefix("- **").and_then(|rest| rest.split_once("**: ")) else { continue };
        if let Some(first) = lines.insert(name, number + 1) {
            findings.push(Finding::new(PAGE, number + 1, format!("{name} has a line already, {first}; make one of the two")));
        }
        for part in [" Why: ", " Instead: "] {
            if !words.contains(part) {
                let what = format!("the line of {name} has no '{}'; say what it is for, why this one, what would replace it", part.trim());
                findings.push(Finding::new(PAGE, number + 1, what));
            }
        }
    }
    let external = external(tree);
    for (name, (manifest, dependency)) in &external {
        if !lines.contains_key(name) {
            let what = format!("{name} has no line in {PAGE}; add '- **{name}**: what for. Why: ... Instead: ...', or do without it");
            findings.push(Finding::new(&manifest.path, dependency.line, what));
        }
    }
    for (name, line) in lines.iter().filter(|(name, _)| !external.contains_key(*name)) {
        findings.push(Finding::new(PAGE, *line, format!("no manifest depends on {name}; remove the line")));
    }
    findings
}

/// No manifest names what nothing uses.
pub(super) fn used(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in tree.manifests() {
        let named = names_in(tree, manifest);
        for dependency in &manifest.dependencies {
            let name = dependency.name.as_str();
            if dependency.kind == Kind::Workspace {
                let wanted = tree
                    .manifests()
                    .any(|member| member.dependencies.iter().any(|wanted| wanted.kind != Kind::Workspace && wanted.name == name));
                if !wanted && !dependency.has_path {
                    findings.push(Finding::new(&manifest.path, dependency.line, format!("no crate depends on {name}; remove the line")));
                }
            } else if !named.contains(name.replace('-', "_").as_str()) {
                let what = format!("nothing in {} names {name}; remove the dependency", manifest.name);
                findings.push(Finding::new(&manifest.path, dependency.line, what));
            }
        }
    }
    findings
}

/// Every external dependency of a package, and the first place that wants it.
fn external(tree: &Tree) -> BTreeMap<&str, (&Manifest, &Dependency)> {
    let all = || tree.manifests().flat_map(|manifest| manifest.dependencies.iter().map(move |dependency| (manifest, dependency)));
    let internal: BTreeSet<&str> =
        all().filter(|(_, dependency)| dependency.has_path).map(|(_, dependency)| dependency.name.as_str()).collect();
    let mut external = BTreeMap::new();
    for (manifest, dependency) in all() {
        let name = dependency.name.as_str();
        if dependency.kind != Kind::Workspace && !internal.contains(name) {
            external.entry(name).or_insert((manifest, dependency));
        }
    }
    external
}

/// The first segments of all paths in a package's code.
fn names_in<'t>(tree: &'t Tree, manifest: &Manifest) -> BTreeSet<String> {
    let folder = format!("{}/", manifest.folder());
    let files = tree.rust().filter(|file| manifest.folder().is_empty() || file.path.starts_with(&folder));
    files.flat_map(|file: &'t _| file.named()).filter_map(|named| named.segments.into_iter().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::finds;
    use super::{listed, used};

    const ROOT: (&str, &str) = ("Cargo.toml", "[workspace.dependencies]\na = { path = \"a\" }\nb = \"1\"\n");

    #[test]
    fn a_dependency_without_a_line() {
        let manifest = ("a/Cargo.toml", "[package]\nname = \"a\"\n[dev-dependencies]\nb.workspace = true\na.workspace = true\n");
        finds(listed, &[ROOT, manifest], &["a/Cargo.toml:4: b has no line in DEPENDENCIES.md"]);
        finds(listed, &[ROOT, manifest, ("DEPENDENCIES.md", "# D\n- **b**: x. Why: y. Instead: z.\n")], &[]);
    }

    #[test]
    fn a_line_without_a_dependency_or_twice_or_without_its_parts() {
        let page = "- **b**: x. Why: y. Instead: z.\n- **b**: x. Why: y.\n- **c-d**: x. Why: y. Instead: z.\n";
        let manifest = ("a/Cargo.toml", "[package]\nname = \"a\"\n[dependencies]\nb = \"1\"\n");
        finds(
            listed,
            &[manifest, ("DEPENDENCIES.md", page)],
            &[
                "DEPENDENCIES.md:2: b has a line already, 1",
                "DEPENDENCIES.md:2: the line of b has no 'Instead:'",
                "DEPENDENCIES.md:3: no manifest depends on c-d",
            ],
        );
    }

    #[test]
    fn a_dependency_that_nothing_names() {
        let manifest = ("a/Cargo.toml", "[package]\nname = \"a\"\n[dependencies]\nc-d = \"1\"\ne = \"1\"\n");
        let code = ("a/src/lib.rs", "//! e::f\nuse c_d::g;\n");
        let expected =
            ["Cargo.toml:3: no crate depends on b; remove the line", "a/Cargo.toml:5: nothing in a names e; remove the dependency"];
        finds(used, &[ROOT, manifest, code], &expected);
    }
}
