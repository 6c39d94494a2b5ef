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
    /// Empty if nobody said.
    host: String,
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
    /// What the file says, with this node at `address` on `host`.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn open(path: &Path, node: u64, address: &str, host: &str) -> Result<Book, String> {
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
        if places.get(&node).is_none_or(|place| (&place.address[..], &place.host[..]) != (address, host)) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(0));
            // Later than what the others know, also where the clock was set back.
            places.insert(node, Place { address: address.to_owned(), since: now.max(before + 1), host: host.to_owned() });
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

    /// Of these nodes another that is on the same host as this one, and the host.
    pub(crate) fn on_the_same_host(&self, node: u64, others: &[u64]) -> Option<(u64, &str)> {
        let host = &self.places.get(&node).filter(|place| !place.host.is_empty())?.host;
        let is_there = |other: &u64| *other != node && self.places.get(other).is_some_and(|place| place.host == *host);
        others.iter().copied().find(is_there).map(|other| (other, &host[..]))
    }

    pub(crate) fn known(&self) -> Vec<Known> {
        let known = |(node, Place { address, since, host }): (&u64, &Place)| Known {
            node: *node,
            address: address.clone(),
            since: *since,
            host: host.clone(),
        };
        self.places.iter().map(known).collect()
    }

    /// Takes in what a node says. Gives whether anything is new.
    pub(crate) fn learn(&mut self, me: u64, hello: &Hello) -> bool {
        let mut changed = false;
        for Known { node, address, since, host } in hello.known.iter().filter(|known| is_address(&known.address) && is_host(&known.host)) {
            let is_later = self.places.get(node).is_none_or(|place| place.since < *since);
            let taken_later = self.places.values().any(|place| place.address == *address && place.since >= *since);
            let stays_forgotten = self.forgotten.contains(node) && *node != hello.node;
            if *node == me || !is_later || taken_later || stays_forgotten {
                continue;
            }
            // Who was there before is there no more: its disk was replaced, or its machine.
            self.places.retain(|other, place| *other == me || place.address != *address);
            self.places.insert(*node, Place { address: address.clone(), since: *since, host: host.clone() });
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
        let host = self.places.get(&node).map_or_else(String::new, |place| place.host.clone());
        self.places.insert(node, Place { address: address.to_owned(), since: since.max(known), host });
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
        let line = |(node, place): (&u64, &Place)| format!("{node:x} {} {} {}\n", place.address, place.since, place.host);
        let text: String = self.places.iter().map(line).collect();
        let folder = self.path.parent().expect("the book is in a data directory");
        let written = write_durably(folder, "peers", &text);
        if let Err(error) = written {
            // What is not written is told again by whoever is reached.
            tracing::warn!(file = %self.path.display(), %error, "cannot write down where the other nodes are");
        }
    }
}

/// Characters of a host's name, at most.
pub(crate) const HOST_CHARS_MAX: usize = 64;

/// Whether it may be the name of a host, or none.
pub(crate) fn is_host(text: &str) -> bool {
    text.chars().count() <= HOST_CHARS_MAX && !text.contains(char::is_whitespace)
}

/// Whether it may be an address: a host and a port.
pub(crate) fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) && !text.contains(char::is_whitespace)
}

fn place_of(line: &str) -> Option<(u64, Place)> {
    let mut words = line.split(' ');
    let [node, address, since] = [words.next()?, words.next()?, words.next()?];
    is_address(address).then_some(())?;
    let place = Place { address: address.to_owned(), since: since.parse().ok()?, host: words.next().unwrap_or_default().to_owned() };
    Some((u64::from_str_radix(node, 16).ok()?, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(node: u64, known: &[(u64, &str, u64)]) -> Hello {
        let known = known.iter().map(|(node, address, since)| Known {
            node: *node,
            address: (*address).to_owned(),
            since: *since,
            host: String::new(),
        });
        Hello { node, known: known.collect(), ..Hello::default() }
    }

    #[test]
    fn of_two_addresses_the_later_is_right_whoever_says_it() {
        let folder = std::env::temp_dir().join(format!("onebox-book-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the test");
        let path = folder.join("peers");
        let mut book = Book::open(&path, 1, "one:1", "").expect("opens");
        assert!(book.learn(1, &hello(2, &[(1, "wrong:9", u64::MAX), (2, "two:1", 10), (3, "three:1", 10)])));
        assert!(!book.learn(1, &hello(2, &[(2, "two:1", 10), (3, "three:0", 5)])), "3 was there before");
        assert!(book.learn(1, &hello(2, &[(3, "three:2", 20)])), "3 has moved, and 2 says so");
        assert!(book.learn(1, &hello(4, &[(4, "two:1", 30)])), "4 is where 2 was");
        assert!(!book.learn(1, &hello(3, &[(2, "two:1", 10)])), "3 does not know yet that 2 is gone");
        assert!(!book.learn(1, &hello(5, &[(5, "five 1", 10), (5, "five", 10), (5, ":1", 10)])), "these are no addresses");
        let again = Book::open(&path, 1, "one:2", "").expect("opens");
        let all: Vec<(u64, &str)> = again.all().collect();
        assert_eq!(all, [(1, "one:2"), (3, "three:2"), (4, "two:1")]);
        let since = |book: &Book| book.places[&1].since;
        assert!(since(&again) > since(&book), "this one has moved");
        fs::write(&path, format!("nonsense\n{}", fs::read_to_string(&path).expect("is there"))).expect("can be written");
        let mut again = Book::open(&path, 1, "one:2", "").expect("opens");
        assert_eq!(all, again.all().collect::<Vec<_>>(), "a line that makes no sense hinders nobody");
        again.replace(4, 6, "two:1");
        assert_eq!((again.address(4), again.address(6)), (None, Some("two:1")));
        let hosts = [(7, "rack-1"), (8, "rack-1"), (9, "rack-2"), (10, "")];
        let known = hosts.map(|(node, host)| Known { node, address: format!("{node}:1"), since: 1, host: host.to_owned() });
        assert!(again.learn(1, &Hello { node: 7, known: known.to_vec(), ..Hello::default() }));
        let again_on = Book::open(&path, 1, "one:2", "rack-2").expect("opens");
        assert_eq!(again_on.on_the_same_host(7, &[7, 9, 8]), Some((8, "rack-1")), "also as the file says");
        assert_eq!(again_on.on_the_same_host(1, &[7, 8, 9, 10]), Some((9, "rack-2")));
        assert_eq!((again_on.on_the_same_host(10, &[3, 7]), again_on.on_the_same_host(9, &[7, 10])), (None, None));
        again.forget(6);
        assert!(!again.learn(1, &hello(3, &[(6, "six:1", 90)])), "3 does not know yet that 6 is no member");
        assert!(again.learn(1, &hello(6, &[(6, "six:1", 90)])), "it is back");
        fs::remove_dir_all(&folder).expect("the folder goes");
    }
}
