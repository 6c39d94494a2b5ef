//! A client at a machine, and the ways in which a test moves them on. Every wait is bounded in steps.

use onebox_replica::{Input, Note};
use onebox_service::{Fault, Keyspace, MethodId, Time};
use onebox_store::memory::MemoryDisk;
use onebox_store::state::View;

use crate::chance::Chance;
use crate::client::Client;
use crate::history::History;
use crate::machine::Machine;

/// When the first process starts: a day in November 2023.
pub(crate) const START: Time = Time(1_700_000_000_000_000);
/// Steps after which something that should happen is missed.
pub(crate) const STEPS_MAX: usize = 60_000;

pub(crate) struct Scene {
    pub(crate) machine: Machine,
    pub(crate) client: Client,
    pub(crate) chance: Chance,
    /// The client goes on asking for things.
    working: bool,
}

impl Scene {
    /// A new machine that serves, and a client.
    pub(crate) fn new(seed: u64) -> Scene {
        let machine =
            Machine::open(&MemoryDisk::new(), START, seed, History::default(), u64::MAX).unwrap_or_else(|not| panic!("{}", not.fault));
        let mut scene = Scene { machine, client: Client::default(), chance: Chance::new(seed), working: false };
        scene.until("it serves", |scene| scene.machine.status().serves);
        scene
    }

    /// One thing happens, and the client hears what comes of it.
    pub(crate) fn step(&mut self) {
        if self.working {
            self.client.act(&mut self.machine, &mut self.chance);
        }
        self.machine.step(&mut self.chance);
        self.client.hear(&mut self.machine);
    }

    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&Scene) -> bool) {
        for _ in 0..STEPS_MAX {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!(
            "after {STEPS_MAX} steps still not: {what}; {:?}, {} wait, stop: {:?}",
            self.machine.status(),
            self.client.waiting(),
            self.machine.desk.stop
        );
    }

    /// Opens a disk again, for a client that was there before, and waits until it serves or has stopped.
    pub(crate) fn again(disk: &MemoryDisk, wall: Time, history: History, client: Client, chance: Chance) -> Result<Scene, Fault> {
        let machine = Machine::open(disk, wall, 7, history, u64::MAX).map_err(|not| not.fault)?;
        let mut scene = Scene { machine, client, chance, working: false };
        scene.until("it serves or stops", |scene| scene.machine.status().serves || scene.machine.ended());
        Ok(scene)
    }

    /// One read; nothing if it failed, which the client's faults then say, or if the replica stopped.
    pub(crate) fn ask(&mut self, method: MethodId, body: Vec<u8>) -> Option<Vec<u8>> {
        self.client.read_this(&mut self.machine, method, body, 0);
        for _ in 0..STEPS_MAX {
            self.machine.turn();
            self.machine.append();
            self.machine.answer_queries();
            let answers = self.client.hear(&mut self.machine);
            if self.client.waiting() == 0 || self.machine.ended() {
                return answers.into_iter().next();
            }
        }
        panic!("a read is never answered");
    }

    /// The client works until so many more requests are acknowledged.
    pub(crate) fn work(&mut self, acknowledged: u64) {
        let goal = self.client.counts.acknowledged + acknowledged;
        self.work_until("requests are acknowledged", |scene| scene.client.counts.acknowledged >= goal);
    }

    /// The client works until something is so, or the machine has ended.
    pub(crate) fn work_until(&mut self, what: &str, mut done: impl FnMut(&Scene) -> bool) {
        self.working = true;
        self.until(what, |scene| done(scene) || scene.machine.ended());
        self.working = false;
    }

    /// Every request gets its answer.
    pub(crate) fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            if self.client.is_settled() {
                return;
            }
            self.client.send_again(&mut self.machine);
            self.step();
        }
        panic!("{} wait for ever: {:?}", self.client.waiting(), self.machine.status());
    }

    /// Nobody asks for anything until the end of the log is asserted and every job is done.
    pub(crate) fn idle(&mut self) {
        for _ in 0..25 {
            self.machine.tick();
            self.machine.turn();
            self.finish_work();
        }
    }

    /// Frames and jobs that wait are done, and those that follow from them.
    pub(crate) fn finish_work(&mut self) {
        for _ in 0..STEPS_MAX {
            let desk = &self.machine.desk;
            if !self.machine.frame_waits() && desk.jobs.is_empty() && self.machine.inputs.is_empty() {
                return;
            }
            self.machine.append();
            self.machine.run_job(0);
            self.machine.turn();
        }
        panic!("work never ends");
    }

    /// The base is read through once; gives whether it was found sound.
    pub(crate) fn scrub(&mut self) -> bool {
        let found = |scene: &Scene| scene.machine.desk.notes.iter().any(|note| matches!(note, Note::Scrubbed { .. }));
        for _ in 0..STEPS_MAX {
            if found(self) || self.machine.ended() {
                break;
            }
            self.machine.tick();
            self.machine.turn();
            self.finish_work();
        }
        found(self)
    }

    /// Stops as an operator stops it, with whatever is under way.
    pub(crate) fn drain(&mut self) {
        self.machine.give(Input::Drain);
        self.until("it has drained", |scene| scene.machine.desk.drained);
    }

    /// Ends the process and gives the disk, as it is without any loss.
    pub(crate) fn kill(self) -> (MemoryDisk, Client, Chance, History, Time) {
        let Scene { machine, mut client, chance, working: _ } = self;
        client.cut_off();
        let (disk, wall) = (machine.disk.clone(), machine.clock.wall);
        (disk, client, chance, machine.kill(), wall)
    }
}

/// Every row that a view shows.
pub(crate) fn rows(view: &View) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    view.scan(&[], &[0xff; 16], &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    })
    .expect("every row can be read");
    rows
}
