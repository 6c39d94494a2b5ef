//! `spec`: runs the service's specs, prints them, or hands them to a measurement or another implementation.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use onebox_service::{Service, Spec};
use onebox_spec::{Catalogue, Rigour, coverage, page, text};

use crate::verbs::examine::{cores, examine};
use crate::verbs::terminal::{Colours, print};
use crate::verbs::{against, bench, report};

/// How the verb is called.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let value = |name: &'static str, shown: &'static str, help: &'static str| Arg::new(name).long(name).value_name(shown).help(help);
    Command::new("spec")
        .about("Runs the specs: every one as it is written, and then in every way that must make no difference")
        .arg(
            Arg::new("filter")
                .value_name("FILTER")
                .num_args(0..)
                .help("Only the specs of these methods, or whose name or method contains one of these words"),
        )
        .arg(flag("json", "Tells the outcome as JSON, for tools"))
        .arg(flag("text", "Prints the specs in their text form instead of running them"))
        .arg(flag("markdown", "Prints the specs as pages of documentation, or writes them to --out"))
        .arg(flag("bench", "Measures how many specs run in a second, with SQLite in memory beside it"))
        .group(ArgGroup::new("form").args(["json", "text", "markdown", "bench"]))
        .arg(value("out", "DIR", "The folder for the pages of --markdown").requires("markdown"))
        .arg(
            value("seconds", "N", "Seconds of each measurement of --bench")
                .default_value("5")
                .value_parser(value_parser!(u64).range(1..=3600)),
        )
        .arg(value("from", "FILE", "Takes the specs from a file in text form, - for standard input"))
        .arg(value("against", "URL", "Runs the specs on another implementation, which answers onebox.spec.v1 at this address"))
        .arg(flag("plain", "Runs each spec only as it is written"))
        .arg(value("jobs", "N", "Threads [default: one for each core]").value_parser(value_parser!(u16).range(1..=1024)))
}

/// Does what the verb says.
pub(crate) fn run(service: &Arc<dyn Service>, arguments: &ArgMatches) -> Result<ExitCode, String> {
    let catalogue = Catalogue::new(service.schema());
    let specs = chosen(service, &catalogue, arguments)?;
    if arguments.get_flag("text") {
        print(&text::print_all(&catalogue, &specs))?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.get_flag("markdown") {
        return pages(&catalogue, &specs, arguments.get_one::<String>("out").map(Path::new));
    }
    let jobs = arguments.get_one::<u16>("jobs").map_or_else(cores, |jobs| usize::from(*jobs));
    if arguments.get_flag("bench") {
        let seconds = arguments.get_one::<u64>("seconds").copied().unwrap_or(5);
        bench::run(service, &catalogue, &specs, jobs, Duration::from_secs(seconds))?;
        return Ok(ExitCode::SUCCESS);
    }
    let verdicts = match arguments.get_one::<String>("against") {
        Some(url) => against::run(&catalogue, &specs, url)?,
        None => {
            let rigour = if arguments.get_flag("plain") { Rigour::Plain } else { Rigour::Hardened };
            examine(service, &specs, rigour, jobs).map_err(|fault| fault.to_string())?
        }
    };
    let told = match arguments.get_flag("json") {
        true => report::for_tools(&catalogue, &specs, &verdicts),
        false => report::for_people(&catalogue, &specs, &verdicts, Colours::of_stdout()),
    };
    let all_own = ["filter", "from", "against"].iter().all(|name| !arguments.contains_id(name));
    if all_own && !arguments.get_flag("json") {
        for what in coverage::not_shown(&catalogue, &specs) {
            print(&format!("no spec shows {what}\n"))?;
        }
    }
    print(&told)?;
    Ok(if verdicts.iter().all(Result::is_ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The service's specs, or those of a file; those that the filter lets through.
fn chosen(service: &Arc<dyn Service>, catalogue: &Catalogue, arguments: &ArgMatches) -> Result<Vec<Spec>, String> {
    let all = match arguments.get_one::<String>("from") {
        None => service.specs(),
        Some(file) => text::parse(catalogue, &read(file)?).map_err(|error| format!("{file}: {error}"))?,
    };
    require_distinct(&all)?;
    let words: Vec<&String> = arguments.get_many::<String>("filter").unwrap_or_default().collect();
    let chosen = |spec: &Spec| words.is_empty() || words.iter().any(|word| matches(catalogue, spec, word));
    let count = all.len();
    let specs: Vec<Spec> = all.into_iter().filter(chosen).collect();
    if specs.is_empty() {
        return Err(if count == 0 {
            "there are no specs".to_owned()
        } else {
            format!(
                "none of the {count} specs has {} in its name or method",
                words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" or ")
            )
        });
    }
    Ok(specs)
}

/// Whether a spec is meant by a word: a method's whole name means its specs, any other word all whose name or method has it.
pub(crate) fn matches(catalogue: &Catalogue, spec: &Spec, word: &str) -> bool {
    let method = catalogue.schema.info(spec.method).name;
    if catalogue.schema.method(word).is_some() {
        return method == word;
    }
    let word = word.to_lowercase();
    spec.name.to_lowercase().contains(&word) || method.to_lowercase().contains(&word.replace(['_', '-'], ""))
}

/// Refuses two specs of one name: whoever speaks of one must know which.
pub(crate) fn require_distinct(specs: &[Spec]) -> Result<(), String> {
    let mut seen: BTreeMap<&str, (&str, u32)> = BTreeMap::new();
    for spec in specs {
        if let Some((file, line)) = seen.insert(&spec.name, spec.place) {
            let (other_file, other_line) = spec.place;
            return Err(format!("two specs are named {:?} ({file}:{line} and {other_file}:{other_line}); rename one", spec.name));
        }
    }
    Ok(())
}

fn read(file: &str) -> Result<String, String> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin().read_to_string(&mut text).map(|_| text),
        path => fs::read_to_string(path),
    };
    read.map_err(|error| format!("cannot read {file}: {error}"))
}

fn pages(catalogue: &Catalogue, specs: &[Spec], out: Option<&Path>) -> Result<ExitCode, String> {
    let pages = page::pages(catalogue, specs);
    let Some(folder) = out else {
        print(&pages.into_iter().map(|page| page.text).collect::<Vec<_>>().join("\n"))?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    for page in &pages {
        let path = folder.join(&page.file);
        fs::write(&path, &page.text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    print(&format!("{} pages are in {}\n", pages.len(), folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
