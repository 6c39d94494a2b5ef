//! Whom a node knows, and where they are: the file `peers` of its data directory, a line for each.
//!
//! Only addresses are at stake: who votes stands in the log. Each node says since when it is where it is, and of two
//! addresses the later is right, whoever passes it on: two nodes that moved at once find each other through a third.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::wire::{Hello, Known};
use crate::identity::write_durably;

/// Where a node is, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    address: String,
    since: u64,
}

/// The nodes by identity. See the module.
#[derive(Debug)]
pub(crate) struct Book {
    path: PathBuf,
    places: BTreeMap<u64, Place>,
    /// Whoever was forgotten comes back by its own word alone: others may pass on for a while where it was.
    forgotten: BTreeSet<u64>,
}

impl Book {
    /// What the file says, with this node at `address`.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn open(path: &Path, node: u64, address: &str) -> Result<Book, String> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        let mut places = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            match place_of(line) {
                Some((node, place)) => drop(places.insert(node, place)),
                // The node will tell again where it is.
                None => tracing::warn!(file = %path.display(), number, line, "passed over a line that names no node and its address"),
            }
        }
        let before = places.get(&node).map_or(0, |place: &Place| place.since);
        if places.get(&node).is_none_or(|place| place.address != address) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(0));
            // Later than what the others know, also where the clock was set back.
            places.insert(node, Place { address: address.to_owned(), since: now.max(before + 1) });
        }
        let book = Book { path: path.to_owned(), places, forgotten: BTreeSet::new() };
        book.store();
        Ok(book)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, &str)> {
        self.places.iter().map(|(node, place)| (*node, &place.address[..]))
    }

    pub(crate) fn address(&self, node: u64) -> Option<&str> {
        self.places.get(&node).map(|place| &place.address[..])
    }

    pub(crate) fn known(&self) -> Vec<Known> {
        let known = |(node, place): (&u64, &Place)| Known { node: *node, address: place.address.clone(), since: place.since };
        self.places.iter().map(known).collect()
    }

    /// Takes in what a node says. Gives whether anything is new.
    pub(crate) fn learn(&mut self, me: u64, hello: &Hello) -> bool {
        let mut changed = false;
        for Known { node, address, since } in hello.known.iter().filter(|known| is_address(&known.address)) {
            let is_later = self.places.get(node).is_none_or(|place| place.since < *since);
            let taken_later = self.places.values().any(|place| place.address == *address && place.since >= *since);
            let stays_forgotten = self.forgotten.contains(node) && *node != hello.node;
            if *node == me || !is_later || taken_later || stays_forgotten {
                continue;
            }
            // Who was there before is there no more: its disk was replaced, or its machine.
            self.places.retain(|other, place| *other == me || place.address != *address);
            self.places.insert(*node, Place { address: address.clone(), since: *since });
            changed = true;
        }
        if changed {
            self.store();
        }
        changed
    }

    /// Another node answers where this one was.
    pub(crate) fn replace(&mut self, before: u64, node: u64, address: &str) {
        let since = self.places.remove(&before).map_or(0, |place| place.since);
        let known = self.places.get(&node).map_or(0, |place| place.since);
        self.places.insert(node, Place { address: address.to_owned(), since: since.max(known) });
        self.store();
    }

    /// Forgets a node.
    pub(crate) fn forget(&mut self, node: u64) {
        self.forgotten.insert(node);
        if self.places.remove(&node).is_some() {
            self.store();
        }
    }

    fn store(&self) {
        let line = |(node, place): (&u64, &Place)| format!("{node:x} {} {}\n", place.address, place.since);
        let text: String = self.places.iter().map(line).collect();
        let folder = self.path.parent().expect("the book is in a data directory");
        let written = write_durably(folder, "peers", &text);
        if let Err(error) = written {
            // What is not written is told again by whoever is reached.
            tracing::warn!(file = %self.path.display(), %error, "cannot write down where the other nodes are");
        }
    }
}

/// Whether it may be an address: a host and a port.
pub(crate) fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) && !text.contains(char::is_whitespace)
}

fn place_of(line: &str) -> Option<(u64, Place)> {
    let [node, address, since] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
    is_address(address).then_some(())?;
    let place = Place { address: address.to_owned(), since: since.parse().ok()? };
    Some((u64::from_str_radix(node, 16).ok()?, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(node: u64, known: &[(u64, &str, u64)]) -> Hello {
        let known = known.iter().map(|(node, address, since)| Known { node: *node, address: (*address).to_owned(), since: *since });
        Hello { node, known: known.collect(), ..Hello::default() }
    }

    #[test]
    fn of_two_addresses_the_later_is_right_whoever_says_it() {
        let folder = std::env::temp_dir().join(format!("onebox-book-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the test");
        let path = folder.join("peers");
        let mut book = Book::open(&path, 1, "one:1").expect("opens");
        assert!(book.learn(1, &hello(2, &[(1, "wrong:9", u64::MAX), (2, "two:1", 10), (3, "three:1", 10)])));
        assert!(!book.learn(1, &hello(2, &[(2, "two:1", 10), (3, "three:0", 5)])), "3 was there before");
        assert!(book.learn(1, &hello(2, &[(3, "three:2", 20)])), "3 has moved, and 2 says so");
        assert!(book.learn(1, &hello(4, &[(4, "two:1", 30)])), "4 is where 2 was");
        assert!(!book.learn(1, &hello(3, &[(2, "two:1", 10)])), "3 does not know yet that 2 is gone");
        assert!(!book.learn(1, &hello(5, &[(5, "five 1", 10), (5, "five", 10), (5, ":1", 10)])), "these are no addresses");
        let again = Book::open(&path, 1, "one:2").expect("opens");
        let all: Vec<(u64, &str)> = again.all().collect();
        assert_eq!(all, [(1, "one:2"), (3, "three:2"), (4, "two:1")]);
        let since = |book: &Book| book.places[&1].since;
        assert!(since(&again) > since(&book), "this one has moved");
        fs::write(&path, format!("nonsense\n{}", fs::read_to_string(&path).expect("is there"))).expect("can be written");
        let mut again = Book::open(&path, 1, "one:2").expect("opens");
        assert_eq!(all, again.all().collect::<Vec<_>>(), "a line that makes no sense hinders nobody");
        again.replace(4, 6, "two:1");
        assert_eq!((again.address(4), again.address(6)), (None, Some("two:1")));
        again.forget(6);
        assert!(!again.learn(1, &hello(3, &[(6, "six:1", 90)])), "3 does not know yet that 6 is no member");
        assert!(again.learn(1, &hello(6, &[(6, "six:1", 90)])), "it is back");
        fs::remove_dir_all(&folder).expect("the folder goes");
    }
}
