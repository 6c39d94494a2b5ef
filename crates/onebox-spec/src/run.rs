//! One spec, judged: as it is written, and then in every way that must not matter.

use std::fmt;
use std::sync::Arc;

use onebox_service::spec::{Spec, Then};
use onebox_service::{Fault, Service};

use crate::difference::{self, Difference};
use crate::hardening;
use crate::{Catalogue, Mistake, Stage};

/// A way in which a spec is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// As it is written.
    Plain,
    /// The request is sent again under the same id.
    Twice,
    /// What is given comes from the log's encoding, and the state is restarted before the request.
    Restarted,
    /// The given events have fields that a newer schema added.
    NewerFields,
    /// What was recorded is replayed on another state.
    Replayed,
    /// The same goes on in another tenant.
    BesideATenant,
}

impl Mode {
    /// All of them, in the order in which they are run.
    pub const ALL: [Mode; 6] = [Mode::Plain, Mode::Twice, Mode::Replayed, Mode::NewerFields, Mode::Restarted, Mode::BesideATenant];

    /// What the mode is, as the second half of a sentence.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Mode::Plain => "run as it is written",
            Mode::Twice => "with the request sent twice under one id",
            Mode::Restarted => "with the given events read from the log's encoding and the state restarted before the request",
            Mode::NewerFields => "with fields of a newer schema in the given events",
            Mode::Replayed => "with what was recorded replayed on another state",
            Mode::BesideATenant => "with the same going on in another tenant",
        }
    }

    /// One word for tools.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Plain => "plain",
            Mode::Twice => "twice",
            Mode::Restarted => "restarted",
            Mode::NewerFields => "newer_fields",
            Mode::Replayed => "replayed",
            Mode::BesideATenant => "beside_a_tenant",
        }
    }
}

/// Why a spec does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// In which mode.
    pub mode: Mode,
    /// What is wrong, if it is not a matter of how the request ended.
    pub words: String,
    /// How the request ended, where that differs.
    pub got: Option<Then>,
    /// What differs, path by path.
    pub differences: Vec<Difference>,
}

impl Problem {
    /// A problem that is told in words alone.
    pub fn words(mode: Mode, words: impl Into<String>) -> Problem {
        Problem { mode, words: words.into(), got: None, differences: Vec::new() }
    }

    pub(crate) fn mistake(mode: Mode) -> impl Fn(Mistake) -> Problem {
        move |mistake| Problem::words(mode, mistake.0)
    }

    pub(crate) fn fault(mode: Mode) -> impl Fn(Fault) -> Problem {
        move |fault| Problem::words(mode, Mistake::from(fault).0)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> = self.differences.iter().map(ToString::to_string).collect();
        if !self.words.is_empty() {
            lines.insert(0, self.words.clone());
        }
        f.write_str(&lines.join("\n"))
    }
}

/// How much a spec is made to bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rigour {
    /// Only as it is written.
    Plain,
    /// In every mode.
    Hardened,
}

/// What it takes to run specs, one after the other, on one thread.
pub struct Runner {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) catalogue: Catalogue,
    pub(crate) stage: Stage,
    pub(crate) twin: Stage,
}

/// How a spec fared.
pub type Verdict = Result<(), Box<Problem>>;

impl Runner {
    /// A runner of a service's specs.
    ///
    /// # Errors
    /// A fault of the state in memory, which is a bug.
    pub fn new(service: Arc<dyn Service>) -> Result<Runner, Fault> {
        let catalogue = Catalogue::new(service.schema());
        let stage = Stage::new(Arc::clone(&service))?;
        let twin = Stage::new(Arc::clone(&service))?;
        Ok(Runner { service, catalogue, stage, twin })
    }

    /// The service's messages.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The stage, for those who want no verdict.
    pub fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    /// Runs one spec; ends at the first mode in which it does not hold.
    ///
    /// # Errors
    /// What is wrong.
    pub fn run(&mut self, spec: &Spec, rigour: Rigour) -> Verdict {
        let got = self.stage.play(spec).map_err(Problem::mistake(Mode::Plain))?;
        self.compare(Mode::Plain, spec, &spec.then, got.clone())?;
        match rigour {
            Rigour::Plain => Ok(()),
            Rigour::Hardened => hardening::run(self, spec, &got),
        }
    }

    pub(crate) fn compare(&self, mode: Mode, spec: &Spec, expected: &Then, got: Then) -> Verdict {
        compare(&self.catalogue, mode, spec, expected, got)
    }
}

/// Whether a request ended as expected.
pub(crate) fn compare(catalogue: &Catalogue, mode: Mode, spec: &Spec, expected: &Then, got: Then) -> Verdict {
    let differences = difference::between(catalogue, spec, expected, &got);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Box::new(Problem { mode, words: String::new(), got: Some(got), differences }))
}
