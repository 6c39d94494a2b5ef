//! Deadlines: what a caller is told who waits no longer, and what may still happen to the request.

use onebox_client::RETRY_FIRST_MICROS;
use onebox_service::attempt::Reply;
use onebox_service::{Code, Time};

use crate::deck::{Deck, LOG, LONG, SECOND, done, numbers};

#[test]
fn an_attempt_may_act_as_long_as_its_caller_waits() {
    let mut deck = Deck::opened(1);
    deck.call(7 * SECOND);
    let attempt = deck.one();
    assert_eq!(attempt.id.not_after, Time(LOG + deck.uptime + 7 * SECOND), "in log time");
}

#[test]
fn a_call_that_waited_for_a_session_keeps_its_deadline() {
    let mut deck = Deck::new();
    deck.call(7 * SECOND);
    let not_after = Time(LOG + deck.uptime + 7 * SECOND);
    deck.pass(2 * SECOND);
    deck.open(1);
    assert_eq!(deck.one().id.not_after, not_after);
}

#[test]
fn with_an_attempt_out_the_outcome_is_to_be_asked() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(SECOND);
    let out = deck.one();
    deck.pass(SECOND - 1);
    assert!(deck.answers.is_empty());
    deck.pass(1);
    deck.refused(caller, Code::DeadlineExceeded, &format!("GET /onebox/v1/requests/{} tells", out.id));
    assert_eq!(deck.id_of(caller), Some(out.id));
    for reply in [Reply::Retry("later"), Reply::Unknown("who knows".to_owned()), Reply::Overloaded, done()] {
        deck.reply(&out, reply);
        deck.pass(SECOND);
        deck.nothing_sent();
    }
    assert_eq!(deck.answers.len(), 1, "and nobody is told again");
}

#[test]
fn between_attempts_nothing_changed() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(SECOND);
    let mut attempt = deck.one();
    for _ in 0..3 {
        deck.reply(&attempt, Reply::Retry("later"));
        deck.pass(100 * RETRY_FIRST_MICROS / 10);
        attempt = deck.one();
    }
    deck.reply(&attempt, Reply::Retry("later"));
    deck.uptime += SECOND;
    deck.pass(0);
    deck.refused(caller, Code::DeadlineExceeded, "nothing changed");
    deck.nothing_sent();
    deck.pass(SECOND);
    deck.nothing_sent();
}

#[test]
fn between_attempts_of_which_one_is_unknown_the_outcome_is_to_be_asked() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(SECOND);
    let first = deck.one();
    deck.reply(&first, Reply::Unknown("who knows".to_owned()));
    deck.pass(RETRY_FIRST_MICROS);
    let second = deck.one();
    deck.reply(&second, Reply::Retry("later"));
    deck.uptime += SECOND;
    deck.pass(0);
    deck.refused(caller, Code::DeadlineExceeded, "tells what became of it");
    deck.call(LONG);
    assert_eq!(numbers(&deck.one()), (1, 3, 2), "it lingers");
}

#[test]
fn a_call_whose_deadline_has_passed_already_is_answered_all_the_same() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(0);
    let out = deck.one();
    deck.pass(0);
    deck.refused(caller, Code::DeadlineExceeded, "");
    deck.reply(&out, Reply::refused(Code::DeadlineExceeded, "it came too late"));
    assert_eq!(deck.answers.len(), 1);
}

#[test]
fn a_reply_in_the_last_moment_counts() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(SECOND);
    let out = deck.one();
    deck.uptime += SECOND;
    deck.reply(&out, done());
    deck.pass(0);
    assert_eq!(*deck.outcome(caller), crate::deck::done_outcome());
}
