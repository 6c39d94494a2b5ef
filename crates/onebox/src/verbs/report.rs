//! What a run of specs is told as: for a person who must act on it, or as JSON for tools.

use std::fmt::Write;

use onebox_service::Spec;
use onebox_service::spec::Then;
use onebox_spec::{Catalogue, Mode, Problem, Verdict, text};
use serde_json::{Value, json};

use crate::verbs::terminal::Colours;

/// The failures, one after the other, then a summary as the last line.
pub(crate) fn for_people(catalogue: &Catalogue, specs: &[Spec], verdicts: &[Verdict], colours: Colours) -> String {
    let mut out = String::new();
    let mut failed = 0;
    for (spec, verdict) in specs.iter().zip(verdicts) {
        if let Err(problem) = verdict {
            failed += 1;
            failure(&mut out, catalogue, spec, problem, colours);
        }
    }
    let summary = format!("{} passed, {failed} failed", specs.len() - failed);
    let summary = if failed == 0 { colours.green(&summary) } else { colours.red(&summary) };
    let _ = writeln!(out, "{summary}");
    out
}

fn failure(out: &mut String, catalogue: &Catalogue, spec: &Spec, problem: &Problem, colours: Colours) {
    let _ = writeln!(out, "{} {}", colours.red("FAILED"), spec.name);
    let (file, line) = spec.place;
    let place = if file.is_empty() { String::new() } else { format!("{file}:{line}, ") };
    let _ = writeln!(out, "{}\n", colours.dim(&format!("{place}{}", problem.mode.words())));
    for line in text::print(catalogue, &Spec { about: String::new(), ..spec.clone() }).lines().skip(1) {
        let _ = writeln!(out, "    {line}");
    }
    out.push('\n');
    for line in problem.to_string().lines() {
        let _ = writeln!(out, "  {}", colours.red(line));
    }
    if let Some(Then::Refused(refusal)) = &problem.got {
        let _ = writeln!(out, "  {}", colours.dim(&format!("the refusal says: {}", refusal.message)));
    }
    out.push('\n');
}

/// One object: a list of specs with what is wrong, and the counts.
pub(crate) fn for_tools(catalogue: &Catalogue, specs: &[Spec], verdicts: &[Verdict]) -> String {
    let failed = verdicts.iter().filter(|verdict| verdict.is_err()).count();
    let specs: Vec<Value> = specs.iter().zip(verdicts).map(|(spec, verdict)| one(catalogue, spec, verdict)).collect();
    let report = json!({ "specs": specs, "passed": specs.len() - failed, "failed": failed });
    format!("{report:#}\n")
}

fn one(catalogue: &Catalogue, spec: &Spec, verdict: &Verdict) -> Value {
    let (file, line) = spec.place;
    let mut value = json!({
        "name": spec.name,
        "method": catalogue.schema.info(spec.method).name,
        "file": file,
        "line": line,
        "passed": verdict.is_ok(),
    });
    if let Err(problem) = verdict {
        value["mode"] = Mode::name(problem.mode).into();
        value["problem"] = problem.words.clone().into();
        let difference = |difference: &onebox_spec::Difference| json!({ "path": difference.path, "expected": difference.expected, "got": difference.got });
        value["differences"] = problem.differences.iter().map(difference).collect();
    }
    value
}
