//! What a power loss leaves of a memory disk: every choice drawn from one seed.
//!
//! Only what was not synced is touched: of a sector with unsynced writes anything may be left, of others nothing is lost.

use std::collections::BTreeMap;

use super::image::{Image, SECTOR, Sector};
use super::{Change, File, NameChange, World, folder_of};

/// What a power loss leaves of the changes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashKind {
    /// None of them.
    DropAll,
    /// All of them.
    KeepAll,
    /// For each sector and name, drawn from the seed: kept, lost, reordered, torn or garbled.
    Random,
}

impl World {
    /// The world as it is found after a power loss now.
    pub(super) fn crash(&self, seed: u64, kind: CrashKind) -> World {
        let mut chance = Chance(seed);
        // Some power losses keep nearly all, some nearly nothing.
        let mood = Mood { kind, kept_percent: [0, 30, 60, 90, 100][chance.below(5) as usize] };
        let mut names = self.durable_names.clone();
        for change in &self.name_changes {
            let (link, unlink) = mood.names_survive(change, &mut chance);
            if link && let Some((path, number)) = &change.link {
                names.insert(path.clone(), *number);
            }
            if unlink && let Some(path) = &change.unlink {
                names.remove(path);
            }
        }
        let mut image = World { folders: self.folders.clone(), capacity: self.capacity, ..World::default() };
        let mut copies = BTreeMap::new();
        for (path, number) in names {
            let copy = *copies.entry(number).or_insert_with(|| {
                let copy = image.new_file(&path);
                let survived = self.files[&number].crash(&mut chance, mood);
                let file = image.file(copy);
                file.durable = survived.clone();
                file.live = survived;
                copy
            });
            image.used += image.files[&copy].live.len;
            image.names.insert(path, copy);
        }
        image.durable_names = image.names.clone();
        image
    }
}

impl File {
    fn crash(&self, chance: &mut Chance, mood: Mood) -> Image {
        match mood.kind {
            CrashKind::DropAll => return self.durable.clone(),
            CrashKind::KeepAll => return self.live.clone(),
            CrashKind::Random => {}
        }
        let mut image = self.durable.clone();
        let mut changes: BTreeMap<usize, Vec<&Change>> = BTreeMap::new();
        for change in &self.unsynced {
            changes.entry(change.sector).or_default().push(change);
        }
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        image.grow(longest);
        for (sector, changes) in changes {
            if sector < image.sectors.len() {
                image.sectors[sector] = mood.sector_survives(&image.sectors[sector], &changes, chance);
            }
        }
        let len = match chance.below(self.lengths.len() as u64 + 2) {
            0 => self.durable.len,
            drawn => self.lengths.get(drawn as usize - 1).or(self.lengths.last()).copied().unwrap_or(self.durable.len),
        };
        image.cut(len);
        image
    }
}

/// How one power loss treats what was not synced.
#[derive(Clone, Copy)]
struct Mood {
    kind: CrashKind,
    kept_percent: u64,
}

impl Mood {
    /// Whether the link and the unlink of a change survive. A file that moves between folders may be found in both, but
    /// not in neither, unless its old folder was synced before its new one.
    fn names_survive(self, change: &NameChange, chance: &mut Chance) -> (bool, bool) {
        match self.kind {
            CrashKind::DropAll => return (false, false),
            CrashKind::KeepAll => return (true, true),
            CrashKind::Random => {}
        }
        let link = chance.below(100) < self.kept_percent;
        match (&change.link, &change.unlink) {
            (Some((to, _)), Some(from)) if folder_of(to) == folder_of(from) => (link, link),
            (Some(_), Some(_)) => (link, link && chance.below(2) == 0),
            (Some(_) | None, Some(_) | None) => (link, link),
        }
    }

    fn sector_survives(self, before: &Sector, changes: &[&Change], chance: &mut Chance) -> Sector {
        if chance.below(100) < self.kept_percent {
            return changes.last().expect("a changed sector has changes").after.clone();
        }
        let mut bytes = before.bytes();
        match chance.below(5) {
            0 | 1 => return before.clone(),
            2 => {
                // Any subset of the writes, in any order.
                for _ in 0..changes.len() {
                    let change = changes[chance.below(changes.len() as u64) as usize];
                    change.onto(&mut bytes, change.start, change.end);
                }
            }
            3 => {
                // Torn: a part of one write.
                let change = changes[chance.below(changes.len() as u64) as usize];
                let middle = change.start + chance.below((change.end - change.start) as u64) as usize;
                let (start, end) = if chance.below(2) == 0 { (change.start, middle) } else { (middle, change.end) };
                change.onto(&mut bytes, start, end);
            }
            _ => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|word| *word = chance.next().to_le_bytes()),
        }
        Sector::of(&bytes)
    }
}

impl Change {
    fn onto(&self, bytes: &mut [u8; SECTOR], start: usize, end: usize) {
        self.after.read(start, &mut bytes[start..end]);
    }
}

/// Splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
