//! Pages of Markdown: their links lead somewhere, and the map stays a map.

use super::Finding;
use super::tree::{Tree, folder_of};

/// The page of the whole.
const MAP: &str = "ARCHITECTURE.md";
/// Lines of the map: what is read in a quarter of an hour.
const MAP_LINES_MAX: usize = 250;

/// The map is there, and short enough to be read.
pub(super) fn architecture_is_short(tree: &Tree) -> Vec<Finding> {
    let what = match tree.text(MAP).map(|text| text.lines().count()) {
        None => "there is no such page; write the map of the whole".to_owned(),
        Some(lines) if lines > MAP_LINES_MAX => {
            format!("the map has {lines} lines, at most {MAP_LINES_MAX} are read; move details to where they belong")
        }
        Some(_) => return Vec::new(),
    };
    vec![Finding::new(MAP, 1, what)]
}

/// Links to files lead to files.
pub(super) fn links_lead_somewhere(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        for (line, target) in links(text) {
            let file = target.split(['#', '?']).next().unwrap_or("");
            let elsewhere = file.is_empty() || file.contains("://") || file.starts_with("mailto:");
            if !elsewhere && !resolve(folder_of(path), file).is_some_and(|file| tree.has(&file)) {
                findings.push(Finding::new(path, line, format!("the link to {target} leads nowhere; correct it, or remove it")));
            }
        }
    }
    findings
}

/// Line and target of each link: `[words](target)`, and `[words]: target` at the start of a line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced || fence {
            continue;
        }
        let prose = without_code(line);
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let reference = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
        links.extend(inline.chain(reference).map(|target| (number + 1, target.trim_matches(['<', '>']).to_owned())));
    }
    links
}

/// The line without what stands between backquotes.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The path from the root of what is named from a folder; `None` if it is outside.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> =
        if target.starts_with('/') { Vec::new() } else { folder.split('/').filter(|part| !part.is_empty()).collect() };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::finds;
    use super::{architecture_is_short, links_lead_somewhere};

    #[test]
    fn a_map_that_is_missing_or_long() {
        finds(architecture_is_short, &[], &["ARCHITECTURE.md:1: there is no such page"]);
        finds(architecture_is_short, &[("ARCHITECTURE.md", &"a\n".repeat(250))], &[]);
        finds(architecture_is_short, &[("ARCHITECTURE.md", &"a\n".repeat(251))], &["ARCHITECTURE.md:1: the map has 251 lines"]);
    }

    #[test]
    fn links_that_lead_nowhere() {
        let page = "[a](b.md#c) [d](../e/f.rs) [folder](../e) [web](https://g.h/i) [here](#j)\n`[code](k)`\n```\n[code](l)\n```\n\
                    text [m](n.md) and ![o](p.svg \"title\")\n[q]: ../../r.md\n";
        finds(
            links_lead_somewhere,
            &[("docs/a.md", page), ("docs/b.md", ""), ("e/f.rs", "")],
            &[
                "docs/a.md:6: the link to n.md leads nowhere",
                "docs/a.md:6: the link to p.svg leads nowhere",
                "docs/a.md:7: the link to ../../r.md leads nowhere",
            ],
        );
    }
}
