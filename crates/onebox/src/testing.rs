//! A service's specs as tests of its crate: one line each in `tests/specs.rs`.

use std::path::Path;
use std::sync::Arc;

use onebox_service::Service;
use onebox_spec::{Catalogue, Rigour, coverage, page};

use crate::verbs::examine::{cores, examine};
use crate::verbs::report;
use crate::verbs::spec::require_distinct;
use crate::verbs::terminal::Colours;

/// Runs every spec of a service, as it is written and in every way that must make no difference.
///
/// # Panics
/// If one does not hold, with all that is to be known of it.
pub fn check_specs(service: impl Service) {
    let service: Arc<dyn Service> = Arc::new(service);
    let (catalogue, specs) = (Catalogue::new(service.schema()), service.specs());
    require_distinct(&specs).unwrap_or_else(|words| panic!("{words}"));
    let verdicts = examine(&service, &specs, Rigour::Hardened, cores()).unwrap_or_else(|fault| panic!("{fault}"));
    let told = report::for_people(&catalogue, &specs, &verdicts, Colours::none());
    assert!(verdicts.iter().all(Result::is_ok), "\n{told}");
}

/// What of the schema no spec shows, in words: methods, events and refusals. For a test that wants it to be nothing.
pub fn not_shown_by_specs(service: impl Service) -> Vec<String> {
    coverage::not_shown(&Catalogue::new(service.schema()), &service.specs())
}

/// Checks that a folder holds the pages that `spec --markdown` writes now. With `UPDATE_EXPECT=1` they are written.
///
/// # Panics
/// If a page is missing, stale, or of a method that is gone.
pub fn check_pages(service: impl Service, folder: impl AsRef<Path>) {
    let (folder, name) = (folder.as_ref(), service.schema().name);
    let pages = page::pages(&Catalogue::new(service.schema()), &service.specs());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(folder).expect("the folder of the pages can be made");
        pages.iter().for_each(|page| std::fs::write(folder.join(&page.file), &page.text).expect("a page can be written"));
    }
    let advice = format!("write them anew: cargo run -p {name} -- spec --markdown --out {}", folder.display());
    for page in &pages {
        let path = folder.join(&page.file);
        let there = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; {advice}", path.display()));
        assert!(there == page.text, "{} is not what the specs say now; {advice}", path.display());
    }
    let files = std::fs::read_dir(folder).expect("the folder of the pages is there");
    for file in files.map(|file| file.expect("a file of the folder can be listed").file_name()) {
        let known = pages.iter().any(|page| *page.file == *file);
        assert!(known, "{} is no page of the specs any more; remove it", folder.join(file).display());
    }
}
