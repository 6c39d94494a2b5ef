//! Names of modules. A module has one noun; a name that fits anything attracts everything.

use super::Finding;
use super::tree::{Tree, file_name, folder_of};

/// Names that say nothing of what is inside.
const RAG_BAGS: [&str; 9] = ["util", "utils", "common", "helper", "helpers", "manager", "managers", "types", "core"];

/// No module has a name that fits anything.
pub(super) fn no_rag_bags(tree: &Tree) -> Vec<Finding> {
    let finding = |path: &str, line, name: &str| {
        RAG_BAGS
            .contains(&name)
            .then(|| Finding::new(path, line, format!("a module named '{name}' can hold anything; name it after its one noun")))
    };
    let mut findings = Vec::new();
    for file in tree.rust() {
        let stem = file_name(&file.path).trim_end_matches(".rs");
        let module = if stem == "mod" { file_name(folder_of(&file.path)) } else { stem };
        findings.extend(finding(&file.path, 1, module));
        for (number, line) in file.code().filter(|(_, line)| line.contains('{')) {
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).skip_while(|word| *word != "mod");
            findings.extend(words.nth(1).and_then(|name| finding(&file.path, number, name)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::finds;
    use super::no_rag_bags;

    #[test]
    fn a_module_that_can_hold_anything() {
        finds(
            no_rag_bags,
            &[
                ("a/src/helpers.rs", ""),
                ("a/src/lib.rs", "mod core_memory;\npub(crate) mod common { }\nfn types() {}\n"),
                ("a/tests/common/mod.rs", ""),
                ("a/src/typesetting.rs", ""),
            ],
            &[
                "a/src/helpers.rs:1: a module named 'helpers'",
                "a/src/lib.rs:2: a module named 'common'",
                "a/tests/common/mod.rs:1: a module named 'common'",
            ],
        );
    }
}
