//! Damage anywhere in the base's file: a right answer or a fault, and what a read cannot see the scrub does.

use std::panic;
use std::sync::Arc;

use onebox_service::{Fault, FaultKind, Keyspace, KeyspaceMut, TenantId, keyspace};
use onebox_store::memory::MemoryDisk;
use onebox_store::state::{State, StateOptions};
use onebox_store::{Disk, DiskFile, NodeId, OpenMode};

use crate::random::Random;
use crate::world::{self, Rows, Writes, apply, scan};

const FILE: &str = "base.redb";
const ROWS: u64 = 1500;
const SECTOR: usize = 4096;

fn key(number: u64) -> Vec<u8> {
    keyspace::key(TenantId(1), 7, 0, &(number * 3,))
}

/// A base of three flushes, with removals, as a file.
fn sound_base() -> (Vec<u8>, Rows) {
    let disk = MemoryDisk::new();
    let mut random = Random::new(11);
    let mut rows = Rows::new();
    let (mut state, _) = world::open(&disk, usize::MAX).expect("opens");
    for index in 1..=3 {
        let mut write = |number: u64| {
            let removed = index > 1 && random.below(10) == 0;
            (key(number), (!removed).then(|| random.bytes(60)))
        };
        let writes: Writes = (0..ROWS).map(&mut write).collect();
        apply(&mut rows, &writes);
        world::commit(&mut state, &writes, index);
        world::flush_all(&mut state).expect("flushes");
    }
    drop(state);
    (disk.read_file(FILE).expect("is there"), rows)
}

/// What one damaged file showed.
#[derive(Debug, Default)]
struct Found {
    faults: u32,
    wrong_absences: u32,
    scrub_saw: bool,
    write_met_it: bool,
}

fn assert_damage(fault: &Fault, what: &str) {
    assert!(matches!(fault.kind, FaultKind::Damage | FaultKind::Version), "{what}: {fault}");
    assert_eq!(fault.file, FILE, "{what}: {fault}");
}

fn check(bytes: &[u8], rows: &Rows, what: &str) -> Found {
    let disk = MemoryDisk::new();
    disk.write_file(FILE, bytes);
    let mut found = Found::default();
    let (mut state, facts) = match world::open(&disk, usize::MAX) {
        Ok(opened) => opened,
        Err(fault) => {
            assert_damage(&fault, what);
            return Found { faults: 1, ..found };
        }
    };
    assert_eq!(facts.applied.index.0, 3, "{what}");
    for number in 0..ROWS + 10 {
        let key = key(number);
        match state.get(&key) {
            Ok(value) if value.as_deref() == rows.get(&key).map(|value| &value[..]) => {}
            Ok(None) => found.wrong_absences += 1,
            Ok(Some(value)) => panic!("{what}: row {number} is invented or old: {value:?}"),
            Err(fault) => {
                assert_damage(&fault, what);
                found.faults += 1;
            }
        }
    }
    match scan(&state, &key(0), &[0xff]) {
        Ok(scanned) => {
            assert!(scanned.iter().all(|(key, value)| rows.get(key) == Some(value)), "{what}: a scan invented a row");
            found.wrong_absences += u32::from(scanned.len() < rows.len());
        }
        Err(fault) => {
            assert_damage(&fault, what);
            found.faults += 1;
        }
    }
    match world::scrub(state.scrub_job(), 100) {
        Ok(_) => assert_eq!((found.faults, found.wrong_absences), (0, 0), "{what}: the scrub found nothing"),
        Err(fault) => {
            assert_damage(&fault, what);
            found.scrub_saw = true;
        }
    }
    if let Err(fault) = write_onto(&mut state) {
        assert_damage(&fault, what);
        found.write_met_it = true;
    }
    found
}

/// Writes to many pages: whatever redb makes of those that make no sense, it must not end the process.
fn write_onto(state: &mut State) -> Result<(), Fault> {
    for number in (0..ROWS).step_by(9) {
        state.put(&key(number), &[1; 400])?;
        state.delete(&key(number + 4))?;
    }
    state.seal_entry();
    let at = world::position(4);
    state.commit_entry(at.index, at.term, at.time);
    world::flush_all(state)
}

#[test]
fn damage_is_a_fault_or_has_no_effect() {
    // redb panics on pages that make no sense; hundreds of those would bury what matters.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !info.location().is_some_and(|at| at.file().contains("redb")) {
            hook(info);
        }
    }));
    let (bytes, rows) = sound_base();
    let sound = check(&bytes, &rows, "the sound file");
    assert_eq!((sound.faults, sound.wrong_absences, sound.scrub_saw), (0, 0, false));
    let used: Vec<usize> =
        (0..bytes.len() / SECTOR).filter(|sector| bytes[sector * SECTOR..][..SECTOR].iter().any(|byte| *byte != 0)).collect();
    let mut random = Random::new(12);
    let (mut met, mut absent, mut scrubbed, mut written) = (0, 0, 0, 0);
    for trial in 0..500 {
        let sector = used[random.below(used.len() as u64) as usize];
        let at = sector * SECTOR + random.below(SECTOR as u64) as usize;
        let mut bytes = bytes.clone();
        let what = match random.below(5) {
            0 | 1 => {
                bytes[at] ^= 1 << random.below(8);
                format!("trial {trial}: a bit of byte {at}")
            }
            2 => {
                let len = 1 + random.below(64) as usize;
                bytes[at..].iter_mut().take(len).for_each(|byte| *byte = random.next() as u8);
                format!("trial {trial}: {len} bytes from {at}")
            }
            3 => {
                // The head of a page holds its kind and its counts.
                let at = sector * SECTOR + random.below(16) as usize;
                bytes[at] = random.next() as u8;
                format!("trial {trial}: head byte {at}")
            }
            _ => {
                let other = used[random.below(used.len() as u64) as usize];
                let from = if random.below(3) == 0 { vec![0; SECTOR] } else { bytes[other * SECTOR..][..SECTOR].to_vec() };
                bytes[sector * SECTOR..][..SECTOR].copy_from_slice(&from);
                format!("trial {trial}: sector {sector} is that of {other}, or zeros")
            }
        };
        let found = check(&bytes, &rows, &what);
        met += u32::from(found.faults > 0);
        absent += u32::from(found.wrong_absences > 0);
        scrubbed += u32::from(found.scrub_saw);
        written += u32::from(found.write_met_it);
    }
    assert!(met > 60 && absent > 10 && scrubbed > 60 && written > 40, "{met} {absent} {scrubbed} {written}");
    for cut in 1..=40 {
        let len = bytes.len() * cut / 41;
        check(&bytes[..len], &rows, &format!("cut to {len} bytes"));
    }
}

#[test]
fn a_damaged_row_is_named() {
    let disk = MemoryDisk::new();
    let (mut state, _) = world::open(&disk, usize::MAX).expect("opens");
    let writes: Writes = (0..3).map(|number| (key(number), Some(b"a value to be found".to_vec()))).collect();
    world::commit(&mut state, &writes, 1);
    world::flush_all(&mut state).expect("flushes");
    drop(state);
    let bytes = disk.read_file(FILE).expect("is there");
    let needle = b"a value to be found";
    let last = bytes.windows(needle.len()).rposition(|window| window == needle).expect("is there");
    disk.flip_bit(FILE, last as u64);
    let (state, _) = world::open(&disk, usize::MAX).expect("opens");
    let faults: Vec<Fault> = (0..3).filter_map(|number| state.get(&key(number)).err()).collect();
    let [fault] = &faults[..] else { panic!("one row is damaged: {faults:?}") };
    let words = fault.to_string();
    assert!(words.starts_with("damage: read of base.redb: the row at tenant 1, table 7, index 0, key 15"), "{words}");
    let words = world::scrub(state.scrub_job(), 100).expect_err("is damaged").to_string();
    assert!(words.starts_with("damage: read of base.redb: the row at tenant 1, table 7, index 0, key 15"), "{words}");
}

#[test]
fn only_damaged_bytes_are_to_be_moved_aside() {
    let disk = MemoryDisk::new();
    drop(world::open(&disk, usize::MAX).expect("opens"));
    let another = StateOptions { node: NodeId(0x99), ..world::options(usize::MAX) };
    let fault = State::open(Arc::new(disk.clone()), another).expect_err("belongs to another node");
    assert_eq!(fault.kind, FaultKind::Foreign);
    assert!(fault.detail.ends_with("give each node its own data directory"), "{fault}");
    disk.write_file(FILE, &[7; 3 * SECTOR]);
    let fault = world::open(&disk, usize::MAX).expect_err("makes no sense");
    assert!(fault.detail.ends_with("; move it aside and start again: it is rebuilt from history and log"), "{fault}");
}

/// A disk whose listings do not show the base.
#[derive(Debug)]
struct Hiding(MemoryDisk);

impl Disk for Hiding {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn DiskFile>, Fault> {
        self.0.open(path, mode)
    }

    fn make_folder(&self, folder: &str) -> Result<(), Fault> {
        self.0.make_folder(folder)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, Fault> {
        let names = self.0.list(folder)?;
        Ok(names.into_iter().filter(|name| name != FILE).collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &str) -> Result<(), Fault> {
        self.0.remove(path)
    }

    fn sync_folder(&self, folder: &str) -> Result<(), Fault> {
        self.0.sync_folder(folder)
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        self.0.free_bytes()
    }
}

#[test]
fn a_base_that_is_not_listed_is_not_written_over() {
    let (bytes, _) = sound_base();
    let disk = MemoryDisk::new();
    disk.write_file(FILE, &bytes);
    let fault = State::open(Arc::new(Hiding(disk.clone())), world::options(usize::MAX)).expect_err("is there");
    assert_eq!((fault.kind, fault.file.as_str()), (FaultKind::Damage, FILE));
    assert!(fault.detail.contains("is not written over"), "{fault}");
    assert!(disk.read_file(FILE).as_deref() == Some(&bytes[..]), "the base is as it was");
}
