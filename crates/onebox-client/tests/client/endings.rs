//! The node stops: each caller is told what is certain, and only where nothing is certain that nothing is.

use onebox_service::Code;
use onebox_service::attempt::Reply;

use crate::deck::{Deck, LONG, SECOND, done};

#[test]
fn each_call_is_told_what_is_known_of_it() {
    let mut deck = Deck::opened(1);
    let (out, retried, ambiguous, late) = (deck.call(LONG), deck.call(LONG), deck.call(LONG), deck.call(SECOND));
    let sent = std::mem::take(&mut deck.sent);
    deck.pass(SECOND);
    deck.reply(&sent[1], Reply::Retry("later"));
    deck.reply(&sent[2], Reply::Unknown("who knows".to_owned()));
    deck.stop_node();
    deck.refused(out, Code::Unknown, "whether the request took effect is not known (the disk failed)");
    deck.refused(out, Code::Unknown, &sent[0].id.to_string());
    deck.refused(ambiguous, Code::Unknown, "is not known");
    deck.refused(retried, Code::Unavailable, "the disk failed; nothing changed");
    deck.refused(late, Code::DeadlineExceeded, "");
    assert_eq!(deck.answers.len(), 4);
    for attempt in &sent {
        deck.reply(attempt, done());
    }
    assert_eq!(deck.answers.len(), 4, "nobody is answered twice");
}

#[test]
fn what_waits_for_a_session_changed_nothing() {
    let mut deck = Deck::new();
    let caller = deck.call(LONG);
    deck.stop_node();
    deck.refused(caller, Code::Unavailable, "nothing changed");
    assert_eq!(deck.id_of(caller), None);
}

#[test]
fn a_call_to_a_node_that_has_stopped_is_answered_by_its_deadline() {
    for mut deck in [Deck::opened(1), Deck::new()] {
        deck.stop_node();
        let caller = deck.call(SECOND);
        while let Some(attempt) = deck.sent.pop() {
            deck.reply(&attempt, Reply::Retry("this node has stopped"));
        }
        deck.pass(SECOND);
        deck.refused(caller, Code::DeadlineExceeded, "nothing changed");
    }
}
