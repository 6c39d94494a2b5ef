//! Power loss after power loss: at any change of the disk, in work and in recovery, with any part of it surviving.
//!
//! One *life* is one disk from its first start on. Each generation of it ends with a power loss (or a kill) at a drawn
//! operation; the next one starts from the image that was left. After each start the state must be the one after some
//! entry at or above everything acknowledged, equal to what the log alone rebuilds, and the client sends everything again.

use std::env;

use onebox_service::Time;
use onebox_store::Disk;
use onebox_store::memory::{CrashKind, MemoryDisk};

use crate::chance::Chance;
use crate::client::Client;
use crate::history::History;
use crate::machine::{Machine, NotOpened, Work};
use crate::scene::{START, STEPS_MAX, rows};
use crate::tally::Tally;

/// Generations of one life. A long life has a long log, and rebuilding takes as long.
const GENERATIONS: usize = 30;
/// Crash images unless `ONEBOX_CRASH_IMAGES` says otherwise.
const IMAGES: u64 = 1_000;

#[test]
fn nothing_acknowledged_is_lost_and_nothing_acts_twice() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number")));
    let images = number("ONEBOX_CRASH_IMAGES").unwrap_or(IMAGES);
    let seed = number("ONEBOX_CRASH_SEED");
    let mut tally = Tally::default();
    for life in seed.unwrap_or(1).. {
        let shown = OnPanic(life);
        Life::new(life).live(&mut tally);
        drop(shown);
        if tally.images >= images || seed.is_some() {
            break;
        }
    }
    eprintln!("{tally}");
    if seed.is_none() && images >= 200 {
        for work in [Work::Open, Work::Recover, Work::Append, Work::NewSegment, Work::Flush, Work::Spare, Work::MoveToHistory] {
            assert!(tally.places.contains_key(&work), "the power never failed in {work:?}: {:?}", tally.places);
        }
        assert!(tally.mixed > images / 10 && tally.cuts > 0 && tally.digests > 0 && tally.scrubs > 0, "{tally}");
        assert!(tally.counts.repeated > 0 && tally.counts.no_effect > 0 && tally.rebuilt > 0, "{tally}");
    }
}

/// Says how to see a failure again.
struct OnPanic(u64);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see it again: ONEBOX_CRASH_SEED={} cargo test -p inventory --test crash nothing_acknowledged", self.0);
        }
    }
}

struct Life {
    chance: Chance,
    disk: MemoryDisk,
    /// The disk as it was when this generation began, to rebuild the state from.
    before: Option<MemoryDisk>,
    history: History,
    client: Client,
    wall: Time,
}

impl Life {
    fn new(seed: u64) -> Life {
        let (disk, history, client) = (MemoryDisk::new(), History::default(), Client::default());
        Life { chance: Chance::new(seed), disk, before: None, history, client, wall: START }
    }

    fn live(mut self, tally: &mut Tally) {
        for _ in 0..GENERATIONS {
            self.generation(tally);
        }
        tally.effects += self.history.effects() as u64;
        tally.add(&self.client.counts);
    }

    fn generation(&mut self, tally: &mut Tally) {
        // Half of the time the power does not last through the recovery.
        let power_for = if self.chance.once_in(2) { self.chance.below(16) } else { 16 + self.chance.below(400) };
        let history = std::mem::take(&mut self.history);
        match Machine::open(&self.disk, self.wall, self.chance.next(), history, power_for) {
            Ok(machine) => self.process(machine, tally),
            Err(not_opened) => {
                let NotOpened { fault, power_failed, history } = *not_opened;
                assert!(power_failed, "the disk does not open: {fault}");
                self.history = history;
                *tally.places.entry(Work::Open).or_default() += 1;
            }
        }
        self.crash(tally);
    }

    /// Until the power fails.
    fn process(&mut self, mut machine: Machine, tally: &mut Tally) {
        let mut served = false;
        tally.cuts += u64::from(machine.cut.is_some());
        for step in 0.. {
            assert!(step < STEPS_MAX, "nothing happens any more: {:?}, {} wait", machine.status(), self.client.waiting());
            if let Some(work) = machine.power_failed_in {
                *tally.places.entry(work).or_default() += 1;
                break;
            }
            assert!(machine.desk.stop.is_none(), "it stopped: {:?}", machine.desk.stop);
            if !served && machine.status().serves {
                served = true;
                self.came_back(&mut machine, tally);
            }
            if served {
                self.client.act(&mut machine, &mut self.chance);
            }
            machine.step(&mut self.chance);
            // What the process said in its last moments was heard.
            self.client.hear(&mut machine);
        }
        assert!(self.client.faults.is_empty(), "reads failed: {:?}", self.client.faults);
        self.client.check_the_dead(&machine);
        self.client.cut_off();
        for note in &machine.desk.notes {
            tally.flushes += u64::from(matches!(note, onebox_replica::Note::Flushed { .. }));
            tally.scrubs += u64::from(matches!(note, onebox_replica::Note::Scrubbed { .. }));
        }
        self.wall = machine.clock.wall.plus_micros(self.chance.below(100_000));
        self.history = std::mem::take(&mut machine.desk.history);
    }

    fn came_back(&mut self, machine: &mut Machine, tally: &mut Tally) {
        let (applied, _) = machine.status().progress;
        tally.recoveries += 1;
        tally.cuts += u64::from(machine.cut.is_some());
        assert!(
            applied.0 > self.client.answered_at(),
            "entry {} was acknowledged, and the log ends before {applied}",
            self.client.answered_at()
        );
        let compared = machine.desk.history.came_back(applied.0, machine.replica.digests());
        tally.digests += u64::from(compared);
        if let Some(before) = self.before.take() {
            rebuild(&before, machine, self.wall);
            tally.rebuilt += 1;
        }
        self.client.resume(machine, &mut self.chance);
    }

    /// What is left of the disk.
    fn crash(&mut self, tally: &mut Tally) {
        if self.chance.once_in(8) {
            // Killed, and the machine stayed on: everything that was written is still there, unsynced.
            self.disk.restart_process();
            self.before = None;
            tally.kills += 1;
            return;
        }
        let kind = self.chance.pick(&[CrashKind::DropAll, CrashKind::KeepAll, CrashKind::Random, CrashKind::Random, CrashKind::Random]);
        let seed = self.chance.next();
        let image = self.disk.crash_image(seed, kind);
        tally.image(kind);
        let differs = |other: CrashKind| !same(&image, &self.disk.crash_image(seed, other));
        tally.mixed += u64::from(kind == CrashKind::Random && differs(CrashKind::DropAll) && differs(CrashKind::KeepAll));
        self.before = Some(self.disk.crash_image(seed, kind));
        self.disk = image;
    }
}

fn same(left: &MemoryDisk, right: &MemoryDisk) -> bool {
    let files = left.files();
    // What is in the history was synced long ago.
    files == right.files()
        && files.iter().filter(|file| !file.starts_with("history/")).all(|file| left.read_file(file) == right.read_file(file))
}

/// The log and the history alone must give the same state.
fn rebuild(image: &MemoryDisk, recovered: &Machine, wall: Time) {
    if image.files().iter().any(|file| file == "base.redb") {
        image.remove("base.redb").expect("it is there");
    }
    let opened = Machine::open(image, wall, 1, History::unchecked(), u64::MAX);
    let mut rebuilt = opened.unwrap_or_else(|not| panic!("without its base the disk does not open: {}", not.fault));
    for step in 0.. {
        assert!(step < STEPS_MAX, "the rebuilt replica never serves: {:?}", rebuilt.status());
        if rebuilt.status().serves {
            break;
        }
        rebuilt.append();
        rebuilt.run_job(0);
        rebuilt.turn();
        assert!(rebuilt.desk.stop.is_none(), "rebuilding stopped: {:?}", rebuilt.desk.stop);
    }
    assert_eq!(rebuilt.status().progress, recovered.status().progress, "the rebuilt log ends elsewhere");
    assert_eq!(rebuilt.replica.digests(), recovered.replica.digests(), "the rebuilt state has other digests");
    assert_eq!(rows(rebuilt.replica.view()), rows(recovered.replica.view()), "the rebuilt state has other rows");
}
