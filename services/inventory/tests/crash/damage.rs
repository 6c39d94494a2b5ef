//! Rot on the disk, one bit at a time: it is told with its place, and never cut away, skipped or answered from.

use onebox_replica::Stop;
use onebox_service::{Fault, FaultKind, MethodId, Time};
use onebox_store::memory::{CrashKind, MemoryDisk};

use crate::chance::Chance;
use crate::client::Client;
use crate::history::History;
use crate::machine::Machine;
use crate::scene::{Scene, rows};

const SECTOR: usize = 4096;
/// Bits flipped in the base.
const BASE_FLIPS: usize = if cfg!(debug_assertions) { 120 } else { 600 };

type Ask = (MethodId, Vec<u8>);

/// A disk on which nothing runs, and what it holds.
struct Rest {
    disk: MemoryDisk,
    wall: Time,
    digests: (u128, u128),
    applied: u64,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    reads: Vec<(Ask, Vec<u8>)>,
}

impl Rest {
    /// A disk after some work, stopped in order or killed in the middle of things.
    fn after_work(seed: u64, in_order: bool) -> Rest {
        let mut scene = Scene::new(seed);
        scene.work(400);
        if in_order {
            scene.settle();
            scene.idle();
            scene.drain();
        }
        let (disk, client, _, _, wall) = scene.kill();
        let mut looked_at = open(&disk.crash_image(0, CrashKind::KeepAll), wall).expect("it opens");
        assert!(looked_at.machine.status().serves, "{:?}", looked_at.machine.desk.stop);
        let mut reads = Vec::new();
        for (method, body) in client.workload.every_read() {
            let answer = looked_at.ask(method, body.clone()).expect("a read of what is there is answered");
            reads.push(((method, body), answer));
        }
        let machine = &looked_at.machine;
        let (digests, applied) = (machine.replica.digests(), machine.status().progress.0.0);
        Rest { rows: rows(machine.replica.view()), disk, wall, digests, applied, reads }
    }

    fn copy(&self) -> MemoryDisk {
        self.disk.crash_image(0, CrashKind::KeepAll)
    }

    fn is_whole(&self, machine: &Machine) {
        assert_eq!(machine.status().progress.0.0, self.applied, "the log ends elsewhere");
        assert_eq!(machine.replica.digests(), self.digests, "the state differs");
        assert_eq!(rows(machine.replica.view()), self.rows, "rows differ");
    }
}

fn open(disk: &MemoryDisk, wall: Time) -> Result<Scene, Fault> {
    Scene::again(disk, wall, History::unchecked(), Client::default(), Chance::new(1))
}

/// The fault with which a disk does not open, or a replica has stopped; nothing if it serves.
fn fault_of(opened: &Result<Scene, Fault>) -> Option<Fault> {
    match opened {
        Err(fault) => Some(fault.clone()),
        Ok(scene) => match &scene.machine.desk.stop {
            None => None,
            Some(Stop::Fault(fault)) => Some(fault.clone()),
            Some(stop) => panic!("it stopped for another reason: {stop}"),
        },
    }
}

fn segments(disk: &MemoryDisk) -> Vec<String> {
    let mut segments: Vec<String> = disk.files().into_iter().filter(|file| file.ends_with(".seg")).collect();
    segments.sort_by_key(|path| path.rsplit('/').next().map(str::to_owned));
    segments
}

/// Where the frames of a segment begin, by their magic.
fn frames(bytes: &[u8]) -> Vec<usize> {
    (SECTOR..bytes.len()).step_by(SECTOR).filter(|at| &bytes[*at..at + 4] == b"frm1").collect()
}

#[test]
fn a_flipped_bit_below_the_durable_end_of_the_log_is_told_with_its_place() {
    let mut chance = Chance::new(31);
    let (mut flips, mut unseen) = (0, 0);
    for in_order in [true, false] {
        let rest = Rest::after_work(5 + u64::from(in_order), in_order);
        let segments = segments(&rest.disk);
        assert!(segments.len() > 3 && segments.iter().any(|path| path.starts_with("history/")), "{segments:?}");
        for path in &segments {
            let bytes = rest.disk.read_file(path).expect("it is there");
            // Rot in the very last frame looks like an interrupted write; nothing later says that it was durable.
            let end = if Some(path) == segments.last() { frames(&bytes).last().copied().unwrap_or(0) } else { bytes.len() };
            for at in (0..end).step_by(SECTOR).filter(|at| bytes[*at..at + SECTOR].iter().any(|byte| *byte != 0)) {
                let offset = at as u64 + chance.below(SECTOR as u64);
                flips += 1;
                unseen += u64::from(!flip(&rest, path, offset));
            }
        }
    }
    eprintln!("{flips} bits flipped in the log; {unseen} in what the base made unnecessary to read");
    assert!(flips > 80 && unseen < flips, "{flips} {unseen}");
}

/// Gives whether it was noticed with the base there; without it, everything is read and it must be.
fn flip(rest: &Rest, path: &str, offset: u64) -> bool {
    let disk = rest.copy();
    disk.flip_bit(path, offset);
    let opened = open(&disk, rest.wall);
    let noticed = fault_of(&opened);
    match &noticed {
        Some(fault) => names_the_place(fault, path, offset),
        None => rest.is_whole(&opened.expect("it opened").machine),
    }
    let disk = rest.copy();
    disk.flip_bit(path, offset);
    onebox_store::Disk::remove(&disk, "base.redb").expect("it is there");
    let fault = fault_of(&open(&disk, rest.wall)).unwrap_or_else(|| panic!("a bit flipped at {offset} of {path} is not noticed"));
    names_the_place(&fault, path, offset);
    noticed.is_some()
}

fn names_the_place(fault: &Fault, path: &str, offset: u64) {
    assert_eq!((fault.kind, fault.file.as_str()), (FaultKind::Damage, path), "{fault}");
    let told = fault.detail.strip_prefix("offset ").and_then(|rest| rest.split(':').next()).and_then(|number| number.parse::<u64>().ok());
    let told = told.unwrap_or_else(|| panic!("no offset in: {fault}"));
    // The place is that of the frame, which may be longer than a sector, or of the header.
    assert!(told <= offset && offset - told < 16 * SECTOR as u64, "bit flipped at {offset}: {fault}");
}

/// A disk whose open segment has room behind its last frame: its path, and where that frame begins and ends.
fn with_room(seed: u64) -> Option<(Rest, String, usize, usize)> {
    let rest = Rest::after_work(seed, false);
    let path = segments(&rest.disk).last().expect("there is an open segment").clone();
    let bytes = rest.disk.read_file(&path).expect("it is there");
    let begins = *frames(&bytes).last()?;
    let end = (begins..bytes.len()).step_by(SECTOR).find(|at| bytes[*at..at + SECTOR].iter().all(|byte| *byte == 0))?;
    (bytes.len() - end >= 4 * SECTOR).then_some((rest, path, begins, end))
}

#[test]
fn a_torn_tail_is_cut_without_a_word() {
    let (rest, path, begins, end) = (9..).find_map(with_room).expect("some open segment has room");
    let bytes = rest.disk.read_file(&path).expect("it is there");
    let frame = bytes[begins..end].to_vec();
    let mut chance = Chance::new(4);
    for tail in 0..12 {
        let mut torn = bytes.clone();
        let length = (1 + chance.place(frame.len().min(bytes.len() - end))).min(bytes.len() - end);
        match tail % 3 {
            0 => torn[end..end + length].copy_from_slice(&frame[..length]),
            1 => torn[end..end + length].iter_mut().for_each(|byte| *byte = chance.next() as u8),
            // The first sector was lost, a later one was not.
            _ => torn[end + SECTOR..].iter_mut().take(length).for_each(|byte| *byte = 0xa5),
        }
        let disk = rest.copy();
        disk.write_file(&path, &torn);
        let scene = open(&disk, rest.wall).unwrap_or_else(|fault| panic!("a torn tail is taken for damage: {fault}"));
        let cut = scene.machine.cut.clone().expect("the tail was cut");
        assert_eq!((cut.file.as_str(), cut.offset), (path.as_str(), end as u64));
        rest.is_whole(&scene.machine);
    }
}

#[derive(Debug, Default)]
struct Found {
    at_open: u64,
    in_replay: u64,
    on_read: u64,
    by_scrub: u64,
    wrong_answers: u64,
    harmless: u64,
}

#[test]
fn a_flipped_bit_in_the_base_is_told_or_harmless() {
    let rest = Rest::after_work(12, true);
    let length = rest.disk.read_file("base.redb").expect("it is there").len() as u64;
    let (mut chance, mut found) = (Chance::new(77), Found::default());
    for _ in 0..BASE_FLIPS {
        let disk = rest.copy();
        let offset = chance.below(length);
        disk.flip_bit("base.redb", offset);
        look_for(&rest, &disk, &mut found);
    }
    eprintln!("{BASE_FLIPS} bits flipped in a base of {length} bytes: {found:?}");
    assert!(found.on_read > 0 && found.by_scrub > 0 && found.harmless > 0, "{found:?}");
}

fn look_for(rest: &Rest, disk: &MemoryDisk, found: &mut Found) {
    let opened = open(disk, rest.wall);
    if let Some(fault) = fault_of(&opened) {
        is_of_the_base(&fault);
        *(if opened.is_err() { &mut found.at_open } else { &mut found.in_replay }) += 1;
        return;
    }
    let mut scene = opened.expect("there was no fault");
    let mut wrong = 0;
    for ((method, body), expected) in &rest.reads {
        let faults = scene.client.faults.len();
        let answer = scene.ask(*method, body.clone());
        if scene.machine.ended() {
            break;
        }
        wrong += u64::from(scene.client.faults.len() == faults && answer.as_ref() != Some(expected));
    }
    let faults = std::mem::take(&mut scene.client.faults);
    for fault in &faults {
        is_of_the_base(fault);
        assert!(fault.detail.contains("key") || fault.detail.contains("row"), "no key range in: {fault}");
    }
    let sound = scene.scrub();
    if let Some(Stop::Fault(fault)) = &scene.machine.desk.stop {
        is_of_the_base(fault);
    }
    found.on_read += u64::from(!faults.is_empty());
    found.by_scrub += u64::from(!sound);
    found.wrong_answers += wrong;
    assert!(sound || scene.machine.desk.stop.is_some(), "a scrub that finds something says so");
    if sound {
        assert_eq!(wrong, 0, "a wrong answer, and the scrub found nothing");
        assert!(faults.is_empty(), "a read found damage, and the scrub did not: {faults:?}");
        rest.is_whole(&scene.machine);
        found.harmless += 1;
    }
}

fn is_of_the_base(fault: &Fault) {
    assert_eq!((fault.kind, fault.file.as_str()), (FaultKind::Damage, "base.redb"), "{fault}");
}
