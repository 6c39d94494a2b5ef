//! To which node an attempt goes: the leader, as far as it is known; else one after the other.

/// The nodes of a partition, as a client knows them.
#[derive(Debug, Clone)]
pub struct Routes {
    nodes: Vec<u64>,
    at: usize,
}

impl Routes {
    /// Begins with the first of these nodes.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(nodes: Vec<u64>) -> Routes {
        assert!(!nodes.is_empty(), "a client knows a node");
        Routes { nodes, at: 0 }
    }

    /// The node that is named first.
    pub fn nearest(&self) -> u64 {
        self.nodes[0]
    }

    /// Where the next attempt goes.
    pub fn target(&self) -> u64 {
        self.nodes[self.at]
    }

    /// A node said that it does not lead, and who does, if it knows.
    pub fn elsewhere(&mut self, from: u64, leader: Option<u64>) {
        let known = leader.and_then(|leader| self.nodes.iter().position(|node| *node == leader));
        match known {
            Some(at) => self.at = at,
            None => self.away_from(from),
        }
    }

    /// A node did not answer, or cannot now.
    pub fn away_from(&mut self, node: u64) {
        // An old attempt's end says nothing of the node that is asked now.
        if self.target() == node {
            self.at = (self.at + 1) % self.nodes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_asked_and_without_one_everybody_in_turn() {
        let mut routes = Routes::new(vec![7, 8, 9]);
        routes.elsewhere(7, Some(9));
        assert_eq!(routes.target(), 9);
        routes.elsewhere(7, None);
        assert_eq!(routes.target(), 9, "what another node does not know says nothing of this one");
        routes.away_from(9);
        assert_eq!(routes.target(), 7);
        routes.elsewhere(7, Some(1));
        assert_eq!(routes.target(), 8, "a leader that is not known is looked for");
    }
}
