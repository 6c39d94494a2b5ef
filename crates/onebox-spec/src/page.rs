//! Specs as documentation: a page of Markdown for each method, and one that lists them.

use std::fmt::Write;

use onebox_service::Spec;
use onebox_service::service::{MethodInfo, Verb};

use crate::{Catalogue, text};

/// A page: its file's name and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The file's name, for example `reserve.md`.
    pub file: String,
    /// Its Markdown.
    pub text: String,
}

/// The pages of these specs: an index, then a page for each method that has one, in the order of the schema.
#[must_use]
pub fn pages(catalogue: &Catalogue, specs: &[Spec]) -> Vec<Page> {
    let schema = catalogue.schema;
    let mut index = format!(
        "# {}\n\nWhat `{}` does, method by method, example by example. Written by `{} spec --markdown` from the specs, which are run\n\
         with every test.\n\n| method | what it does | specs |\n|---|---|---|\n",
        title(schema.name),
        schema.service,
        schema.name
    );
    let mut pages = Vec::new();
    for method in schema.methods {
        let own: Vec<&Spec> = specs.iter().filter(|spec| schema.info(spec.method).name == method.name).collect();
        if own.is_empty() {
            continue;
        }
        let file = format!("{}.md", snake(method.name));
        let first = comment(catalogue, method).lines().next().unwrap_or("").to_owned();
        let _ = writeln!(index, "| [{}]({file}) | {} | {} |", method.name, first.replace('|', "\\|"), own.len());
        pages.push(Page { file, text: page(catalogue, method, &own) });
    }
    pages.insert(0, Page { file: "README.md".to_owned(), text: index });
    pages
}

fn page(catalogue: &Catalogue, method: &MethodInfo, specs: &[&Spec]) -> String {
    let mut out = format!("# {}\n", method.name);
    let comment = comment(catalogue, method);
    if !comment.is_empty() {
        let _ = write!(out, "\n{comment}\n");
    }
    for route in method.routes {
        let _ = write!(out, "\n`{} {}`\n", verb(route.verb), route.path);
    }
    for spec in specs {
        let _ = write!(out, "\n## {}\n", title(&spec.name));
        if !spec.about.is_empty() {
            let _ = write!(out, "\n{}\n", spec.about.trim_end());
        }
        let whole = text::print(catalogue, &Spec { about: String::new(), ..(*spec).clone() });
        let steps = whole.split_once('\n').map_or("", |(_, steps)| steps);
        let _ = write!(out, "\n```text\n{steps}```\n");
    }
    out
}

/// The comment above a method in the schema.
fn comment(catalogue: &Catalogue, method: &MethodInfo) -> String {
    let service = catalogue.pool().get_service_by_name(catalogue.schema.service);
    let Some(found) = service.and_then(|service| service.methods().find(|found| found.name() == method.name)) else {
        return String::new();
    };
    let file = found.parent_file();
    let path = found.path();
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let comment = location.and_then(|location| location.leading_comments.clone()).unwrap_or_default();
    comment.lines().map(|line| line.trim()).collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn title(words: &str) -> String {
    let mut characters = words.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// `UpdateStock` as `update_stock`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (position, character) in name.chars().enumerate() {
        if character.is_uppercase() && position > 0 {
            out.push('_');
        }
        out.extend(character.to_lowercase());
    }
    out
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::Post => "POST",
        Verb::Put => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
    }
}
