//! Upgrades: which versions of a service's apply the members' builds run, and putting a newer one in force.
//!
//! Timeline to avoid: a newer version is put in force, a member restarts with an older build, and cannot follow. So a leader
//! asks for no less than every member's word, not older than a moment.

use std::collections::BTreeMap;

use onebox_service::attempt::Reply;
use onebox_service::planted::planted;
use onebox_service::version::{self, FIRST_VERSION};
use onebox_service::{Code, Fault, FaultKind, Service};
use onebox_store::state::{Chain, State};

use crate::effect::Stop;
use crate::input::{Clock, Token};
use crate::limits::{WORD_MICROS_MAX, WORD_TICKS_MAX};
use crate::membership::{Membership, PeerId};
use crate::peer::PeerMessage;
use crate::reads::Held;
use crate::replica::Replica;

/// What each member said of its build, and when by its clock.
#[derive(Debug, Default)]
pub(crate) struct Builds(BTreeMap<PeerId, Word>);

impl Builds {
    pub(crate) fn keep(&mut self, members: &Membership) {
        self.0.retain(|peer, _| members.contains(*peer));
    }
}

#[derive(Debug, Default)]
struct Word {
    /// By its clock: of two words the later one holds.
    clock: u64,
    newest_version: u32,
    /// In ticks of this process.
    heard: u64,
}

/// Whether this build runs the version that a state is in.
pub(crate) fn can_run(service: &dyn Service, state: &State) -> Result<(), Fault> {
    let (versions, in_force) = (service.versions(), version::in_force(state)?);
    if versions.contains(&in_force) || state.chain() == Chain::default() {
        return Ok(());
    }
    let words = format!(
        "version {in_force} of apply is in force, and this build runs {} to {}; install a build that runs it",
        versions.start(),
        versions.end()
    );
    Err(Fault::new(FaultKind::Version, "open", "base.redb", words))
}

impl Replica {
    pub(crate) fn newest_version(&self) -> u32 {
        *self.execution.service.versions().end()
    }

    /// Takes a peer's word for its build, unless it has said something later, or took long to say it.
    pub(crate) fn hear_build(&mut self, clock: Clock, message: &PeerMessage) {
        let from = PeerId(message.from);
        let members = self.consensus.membership();
        if message.newest_version == 0 || message.clock.abs_diff(clock.wall.0) > WORD_MICROS_MAX || !members.contains(from) {
            return;
        }
        let word = self.builds.0.entry(from).or_default();
        if message.clock >= word.clock {
            *word = Word { clock: message.clock, newest_version: message.newest_version, heard: self.ticks };
        }
    }

    /// Puts the newest version of this build in force, if every member's build runs it. It cannot be taken back: builds that do not
    /// run it are of no use from then on.
    pub(crate) fn activate(&mut self, clock: Clock, token: Token) {
        if !self.serves() {
            let leader = self.consensus.leader().map(|leader| leader.0);
            return self.reply(token, Reply::Elsewhere(leader));
        }
        match self.activated(clock) {
            Ok(Ok(version)) => self.open_replies.push((token, Reply::Done { response: version.to_be_bytes().to_vec(), repeated: false })),
            Ok(Err(words)) => self.hold(Held::Reply(token, Reply::refused(Code::FailedPrecondition, words))),
            Err(fault) => {
                self.reply(token, Reply::Unknown(fault.to_string()));
                self.stop(Stop::Fault(fault));
            }
        }
    }

    fn activated(&mut self, clock: Clock) -> Result<Result<u32, String>, Fault> {
        let newest = self.newest_version();
        let in_force = version::in_force(&self.execution.state)?;
        if in_force >= newest {
            return Ok(Err(format!("version {in_force} of apply is in force already, the newest that this build runs")));
        }
        if let Err(words) = self.all_run(newest) {
            return Ok(Err(words));
        }
        self.begin_entry(clock)?;
        self.execution.activate(newest)?;
        Ok(Ok(newest))
    }

    fn all_run(&self, version: u32) -> Result<(), String> {
        if planted("a version put in force that a member cannot run") {
            return Ok(());
        }
        for peer in self.consensus.membership().peers().into_iter().filter(|peer| *peer != self.consensus.id()) {
            match self.builds.0.get(&peer).filter(|word| self.ticks - word.heard <= WORD_TICKS_MAX) {
                Some(word) if word.newest_version >= version => {}
                Some(Word { newest_version, .. }) => {
                    return Err(format!(
                        "the build of {peer} runs no more than version {newest_version} of apply, not {version}; upgrade it first"
                    ));
                }
                None => {
                    return Err(format!(
                        "the build of {peer} is not known: it is not heard of, or its clock is more than {} s off; bring it back, set \
                         its clock right, or remove it",
                        WORD_MICROS_MAX / 1_000_000
                    ));
                }
            }
        }
        Ok(())
    }

    /// A state in which nothing was ever written begins with the newest version, if all members' builds run it.
    /// Otherwise with the oldest that this build runs.
    pub(crate) fn begin_with_newest(&mut self) -> Result<(), Fault> {
        let newest = self.newest_version();
        let begins_with = if self.all_run(newest).is_ok() { newest } else { *self.execution.service.versions().start() };
        if begins_with > FIRST_VERSION { self.execution.activate(begins_with) } else { Ok(()) }
    }
}
