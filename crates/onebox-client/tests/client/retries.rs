//! Attempts are repeated under their own id, at growing intervals, and never without being asked to.

use onebox_client::{Outcome, RETRY_FIRST_MICROS, RETRY_MAX_MICROS};
use onebox_service::Code;
use onebox_service::attempt::{Attempt, Reply};

use crate::deck::{Deck, LONG, SECOND, done, done_outcome};

/// Passes time in small steps until an attempt is sent; gives how long it took.
fn waited(deck: &mut Deck) -> (u64, Attempt) {
    let from = deck.uptime;
    while deck.sent.is_empty() {
        deck.pass(1_000);
        assert!(deck.uptime - from <= SECOND, "nothing is sent");
    }
    (deck.uptime - from, deck.one())
}

#[test]
fn an_attempt_is_repeated_under_its_id_after_growing_waits() {
    for reply in [Reply::Retry("later"), Reply::Unknown("who knows".to_owned())] {
        let mut deck = Deck::opened(1);
        let caller = deck.call(LONG);
        let first = deck.one();
        let mut attempt = first.clone();
        let mut waits = Vec::new();
        for _ in 0..8 {
            deck.reply(&attempt, reply.clone());
            let (wait, again) = waited(&mut deck);
            assert_eq!(again, first, "the same request: same id, same command");
            waits.push(wait);
            attempt = again;
        }
        let doubled = |round: u32| (RETRY_FIRST_MICROS << round).min(RETRY_MAX_MICROS);
        assert_eq!(waits, (0..8).map(doubled).collect::<Vec<_>>());
        deck.reply(&attempt, Reply::Done { response: b"done".to_vec(), repeated: true });
        assert_eq!(*deck.outcome(caller), Outcome::Done { response: b"done".to_vec(), repeated: false }, "it is new to the caller");
        deck.pass(SECOND);
        deck.nothing_sent();
    }
}

#[test]
fn an_answer_is_said_to_be_repeated_only_where_it_was_given_to_another_request_with_the_key() {
    let done = Reply::Done { response: b"done".to_vec(), repeated: true };
    for (keyed, lost, expected) in [(true, false, true), (true, true, false), (false, false, false)] {
        let mut deck = Deck::opened(1);
        let caller = if keyed { deck.call_keyed("key", LONG) } else { deck.call(LONG) };
        let mut attempt = deck.one();
        if lost {
            // The attempt that is not answered may be the one that took effect first.
            deck.reply(&attempt, Reply::Unknown("who knows".to_owned()));
            attempt = waited(&mut deck).1;
        }
        deck.reply(&attempt, done.clone());
        assert_eq!(*deck.outcome(caller), Outcome::Done { response: b"done".to_vec(), repeated: expected });
    }
}

#[test]
fn nothing_is_repeated_while_an_attempt_is_out() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(LONG);
    let out = deck.one();
    for _ in 0..100 {
        deck.pass(SECOND);
    }
    deck.nothing_sent();
    deck.reply(&out, done());
    assert_eq!(*deck.outcome(caller), done_outcome());
}

#[test]
fn what_is_turned_away_is_told_at_once_if_it_certainly_changed_nothing() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(LONG);
    let out = deck.one();
    deck.reply(&out, Reply::Overloaded);
    assert_eq!((deck.outcome(caller), deck.id_of(caller)), (&Outcome::Overloaded, Some(out.id)));
}

#[test]
fn what_is_turned_away_after_an_attempt_that_is_unknown_is_tried_again() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(LONG);
    let first = deck.one();
    deck.reply(&first, Reply::Unknown("who knows".to_owned()));
    let (_, second) = waited(&mut deck);
    deck.reply(&second, Reply::Overloaded);
    assert!(deck.answers.is_empty(), "that this one was turned away says nothing of the first");
    let (_, third) = waited(&mut deck);
    assert_eq!(third, first);
    deck.reply(&third, done());
    assert_eq!(*deck.outcome(caller), done_outcome());
}

#[test]
fn a_refusal_ends_a_call() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(LONG);
    let out = deck.one();
    deck.reply(&out, Reply::refused(Code::FailedPrecondition, "only 3 left"));
    deck.refused(caller, Code::FailedPrecondition, "only 3 left");
    deck.pass(SECOND);
    deck.nothing_sent();
}

#[test]
fn requests_do_not_wait_for_each_other() {
    let mut deck = Deck::opened(1);
    let callers: Vec<u64> = (0..50).map(|_| deck.call(LONG)).collect();
    let sent = std::mem::take(&mut deck.sent);
    for attempt in sent.iter().step_by(2) {
        deck.reply(attempt, Reply::Retry("later"));
    }
    for attempt in sent.iter().skip(1).step_by(2) {
        deck.reply(attempt, done());
    }
    assert_eq!(deck.answers.len(), 25);
    deck.pass(RETRY_FIRST_MICROS);
    let again = std::mem::take(&mut deck.sent);
    let even: Vec<_> = sent.iter().step_by(2).map(|attempt| attempt.id).collect();
    assert_eq!(again.iter().map(|attempt| attempt.id).collect::<Vec<_>>(), even);
    for attempt in &again {
        deck.reply(attempt, done());
    }
    assert!(callers.iter().all(|caller| *deck.outcome(*caller) == done_outcome()));
}
