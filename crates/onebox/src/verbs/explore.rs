//! `explore`: runs one spec and leaves its final state as a SQLite database, for any SQL tool.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgMatches, Command};
use onebox_service::spec::Then;
use onebox_service::{Service, Spec};
use onebox_spec::stage::{AS_GIVEN, TenantRows};
use onebox_spec::{Catalogue, Runner};

use crate::verbs::spec::{matches, require_distinct};
use crate::verbs::sqlite;
use crate::verbs::terminal::print;

/// Rows of a table that are printed; the database has all of them.
const ROWS_SHOWN_MAX: usize = 50;

/// How the verb is called.
pub(crate) fn command() -> Command {
    Command::new("explore")
        .about("Runs one spec and leaves its final state as a SQLite database: a typed table for each table of the schema")
        .arg(Arg::new("spec").value_name("SPEC").required(true).help("The spec's name, or a word that only its name contains"))
        .arg(Arg::new("out").long("out").value_name("FILE").help("The database [default: ./SERVICE.sqlite]"))
}

/// Does what the verb says.
pub(crate) fn run(service: &Arc<dyn Service>, arguments: &ArgMatches) -> Result<ExitCode, String> {
    let wanted = arguments.get_one::<String>("spec").map_or("", String::as_str);
    let own = format!("{}.sqlite", service.schema().name);
    let file = arguments.get_one::<String>("out").map_or(&*own, String::as_str);
    let mut runner = Runner::new(Arc::clone(service)).map_err(|fault| fault.to_string())?;
    let catalogue = runner.catalogue().clone();
    let spec = the_spec(&catalogue, service.specs(), wanted)?;
    let (then, rows) = play(&mut runner, &spec)?;
    let tables = sqlite::tables(&catalogue, &rows)?;
    sqlite::write(Path::new(file), &tables)?;
    let mut out = format!("{}\n\n", spec.name);
    match &then {
        Then::Returns { .. } if then == spec.then => {}
        Then::Refused(refusal) if matches!(spec.then, Then::Refused(_)) => {
            let _ = writeln!(out, "The request is refused, so this is what was given: {}\n", refusal.message);
        }
        Then::Returns { .. } | Then::Refused(_) => out.push_str("The request does not end as the spec expects; `spec` tells how.\n\n"),
    }
    for table in &tables {
        out.push_str(&table.shown(ROWS_SHOWN_MAX));
        out.push('\n');
    }
    let _ = writeln!(out, "The database is {file}; for example: sqlite3 {file} .schema");
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a spec; gives how it ended, and all rows of its tenant then.
fn play(runner: &mut Runner, spec: &Spec) -> Result<(Then, TenantRows), String> {
    let stage = runner.stage();
    let home = stage.set_up(spec, AS_GIVEN).map_err(|mistake| mistake.to_string())?;
    let then = stage.ask(spec, &home).map_err(|mistake| mistake.to_string())?;
    let rows = stage.rows(home.tenant).map_err(|fault| fault.to_string())?;
    stage.clear();
    Ok((then, rows))
}

/// The one spec that is meant.
fn the_spec(catalogue: &Catalogue, specs: Vec<Spec>, wanted: &str) -> Result<Spec, String> {
    require_distinct(&specs)?;
    if let Some(spec) = specs.iter().find(|spec| spec.name == wanted) {
        return Ok(spec.clone());
    }
    let word = wanted.to_lowercase();
    let mut found: Vec<&Spec> = specs.iter().filter(|spec| spec.name.to_lowercase().contains(&word)).collect();
    if found.is_empty() {
        found = specs.iter().filter(|spec| matches(catalogue, spec, &word)).collect();
    }
    match &found[..] {
        [spec] => Ok((*spec).clone()),
        [] => Err(format!("no spec is named {wanted:?}; `spec --text` prints them all")),
        several => {
            let names: Vec<String> = several.iter().take(10).map(|spec| format!("\n  {}", spec.name)).collect();
            Err(format!("{} specs contain {wanted:?}; say which:{}", several.len(), names.concat()))
        }
    }
}
