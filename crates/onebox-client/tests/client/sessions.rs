//! Sessions: how one is come by, how requests are numbered in it and acknowledged, how it is kept, left and lost.

use onebox_client::{CALLS_MAX, LINGER_MICROS, LINGERING_MAX, Outcome, RETRY_MAX_MICROS, TOUCH_MICROS, WINDOW_OPEN_NEXT};
use onebox_service::Code;
use onebox_service::attempt::{Command, Reply};

use crate::deck::{Deck, LONG, SECOND, command, done, done_outcome, numbers};

#[test]
fn a_session_is_opened_with_the_first_call_and_not_before() {
    let mut deck = Deck::new();
    deck.pass(SECOND);
    deck.nothing_sent();
    let callers = [deck.call(LONG), deck.call(LONG), deck.call(LONG)];
    deck.pass(SECOND);
    deck.open(7);
    let sent = std::mem::take(&mut deck.sent);
    assert_eq!(sent.iter().map(numbers).collect::<Vec<_>>(), [(7, 1, 1), (7, 2, 1), (7, 3, 1)], "in the order of the calls");
    assert_eq!(sent.iter().map(|attempt| attempt.command.clone()).collect::<Vec<_>>(), callers.map(command));
    deck.reply(&sent[1], done());
    assert_eq!((deck.outcome(callers[1]), deck.id_of(callers[1])), (&done_outcome(), Some(sent[1].id)));
    assert_eq!(deck.answers.len(), 1);
}

#[test]
fn opening_is_tried_again_after_a_while_and_only_while_somebody_waits() {
    for reply in [Reply::Retry("not yet"), Reply::Overloaded, Reply::Unknown("who knows".to_owned())] {
        let mut deck = Deck::new();
        let caller = deck.call(SECOND);
        let first = deck.one();
        deck.reply(&first, reply);
        deck.pass(RETRY_MAX_MICROS - 1);
        deck.call(SECOND);
        deck.nothing_sent();
        deck.pass(1);
        let second = deck.one();
        assert_eq!(second.command, Command::OpenSession);
        deck.pass(SECOND);
        deck.refused(caller, Code::DeadlineExceeded, "nothing changed");
        assert_eq!(deck.id_of(caller), None, "it was never numbered");
        deck.reply(&second, Reply::Retry("not yet"));
        deck.pass(SECOND);
        deck.nothing_sent();
    }
}

#[test]
fn a_refusal_to_open_is_told_to_all_who_wait() {
    let mut deck = Deck::new();
    let callers = [deck.call(LONG), deck.call(LONG)];
    let opening = deck.one();
    deck.reply(&opening, Reply::refused(Code::ResourceExhausted, "4096 sessions are open"));
    for caller in callers {
        deck.refused(caller, Code::ResourceExhausted, "4096 sessions");
        assert_eq!(deck.id_of(caller), None);
    }
    deck.pass(RETRY_MAX_MICROS);
    deck.nothing_sent();
    deck.call(LONG);
    deck.open(3);
    assert_eq!(numbers(&deck.one()), (3, 1, 1));
}

#[test]
fn the_acknowledgement_never_passes_what_is_not_settled() {
    let mut deck = Deck::opened(1);
    let callers: Vec<u64> = (0..4).map(|_| deck.call(LONG)).collect();
    let sent = std::mem::take(&mut deck.sent);
    assert_eq!(sent.iter().map(numbers).collect::<Vec<_>>(), [(1, 2, 2), (1, 3, 2), (1, 4, 2), (1, 5, 2)]);
    let below = |deck: &mut Deck| {
        deck.call(LONG);
        let attempt = deck.one();
        deck.reply(&attempt, done());
        numbers(&attempt).2
    };
    deck.reply(&sent[1], done());
    deck.reply(&sent[3], Reply::refused(Code::NotFound, "none"));
    assert_eq!(below(&mut deck), 2, "2 is out");
    deck.reply(&sent[2], Reply::Retry("later"));
    deck.reply(&sent[0], done());
    assert_eq!(below(&mut deck), 4, "4 is to be tried again");
    deck.pass(RETRY_MAX_MICROS);
    let again = deck.one();
    assert_eq!(numbers(&again), (1, 4, 4), "a request acknowledges no more than itself");
    deck.reply(&again, done());
    assert_eq!(below(&mut deck), 8, "all below are settled");
    assert_eq!(*deck.outcome(callers[2]), done_outcome());
}

#[test]
fn what_was_not_told_for_certain_lingers_and_holds_the_acknowledgement_back() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(SECOND);
    let out = deck.one();
    deck.pass(SECOND);
    deck.refused(caller, Code::DeadlineExceeded, "tells what became of it");
    let below = |deck: &mut Deck| {
        deck.call(LONG);
        let attempt = deck.one();
        deck.reply(&attempt, done());
        numbers(&attempt).2
    };
    assert_eq!(below(&mut deck), 2);
    // The late reply finds nobody, and its outcome can still be asked.
    deck.reply(&out, done());
    assert_eq!(below(&mut deck), 2);
    deck.pass(LINGER_MICROS - 1);
    assert_eq!(below(&mut deck), 2);
    deck.pass(1);
    assert_eq!(below(&mut deck), 6, "nobody will ask any more");
}

#[test]
fn what_is_certain_does_not_linger() {
    let mut deck = Deck::opened(1);
    let caller = deck.call(SECOND);
    let out = deck.one();
    deck.reply(&out, Reply::Retry("later"));
    deck.pass(SECOND);
    deck.refused(caller, Code::DeadlineExceeded, "nothing changed");
    deck.call(LONG);
    let sent = std::mem::take(&mut deck.sent);
    assert_eq!(numbers(sent.last().unwrap()), (1, 3, 3));
}

#[test]
fn lingering_max() {
    let mut deck = Deck::opened(1);
    for _ in 0..=LINGERING_MAX {
        deck.call(SECOND);
    }
    let out = std::mem::take(&mut deck.sent);
    deck.pass(SECOND);
    for attempt in &out {
        deck.reply(attempt, done());
    }
    deck.call(LONG);
    assert_eq!(numbers(&deck.one()).2, 3, "the oldest of one too many is acknowledged early");
}

#[test]
fn a_wide_window_makes_a_new_session_and_loses_nothing() {
    let mut deck = Deck::opened(1);
    let slow = deck.call(LONG);
    let slow_attempt = deck.one();
    for _ in 0..WINDOW_OPEN_NEXT - 2 {
        deck.call(LONG);
        let attempt = deck.one();
        deck.reply(&attempt, done());
    }
    deck.call(LONG);
    deck.call(LONG);
    let mut sent = std::mem::take(&mut deck.sent);
    let opening = sent.pop().expect("the last is to open a session");
    assert_eq!((opening.command.clone(), sent.len()), (Command::OpenSession, 2), "calls go on meanwhile");
    deck.reply(&opening, Reply::Opened(onebox_service::attempt::SessionId(2)));
    deck.call(LONG);
    assert_eq!(numbers(&deck.one()), (2, 1, 1), "new requests go into the new one");
    deck.reply(&slow_attempt, Reply::Retry("later"));
    deck.pass(RETRY_MAX_MICROS);
    let again = deck.one();
    assert_eq!((again.id, numbers(&again).2), (slow_attempt.id, 2), "old ones go on under their ids");
    deck.reply(&again, done());
    for attempt in &sent {
        deck.reply(attempt, done());
    }
    assert_eq!(*deck.outcome(slow), done_outcome());
    assert_eq!(deck.answers.len() as u64, WINDOW_OPEN_NEXT + 1);
}

#[test]
fn calls_max() {
    let mut deck = Deck::opened(1);
    for _ in 0..CALLS_MAX {
        deck.call(LONG);
    }
    assert!(deck.answers.is_empty());
    let more = deck.call(LONG);
    assert_eq!((deck.outcome(more), deck.id_of(more)), (&Outcome::Overloaded, None));
    let out = std::mem::take(&mut deck.sent);
    deck.reply(&out[0], done());
    let room = deck.call(LONG);
    assert!(!deck.answers.contains_key(&room));
    // What waits for a session is counted too.
    let mut deck = Deck::new();
    for _ in 0..CALLS_MAX {
        deck.call(LONG);
    }
    let more = deck.call(LONG);
    assert_eq!(*deck.outcome(more), Outcome::Overloaded);
}

#[test]
fn a_session_is_touched_in_time_whatever_else_it_carries() {
    let mut deck = Deck::opened(1);
    deck.pass(TOUCH_MICROS - 1);
    deck.nothing_sent();
    deck.pass(1);
    let touch = deck.one();
    assert_eq!((touch.command.clone(), numbers(&touch)), (Command::TouchSession, (1, 2, 2)));
    deck.pass(SECOND);
    deck.nothing_sent();
    deck.reply(&touch, done());
    // Nothing puts it off: what changes nothing keeps no session alive, and an answer does not tell whether it did.
    for _ in 0..4 {
        deck.pass(TOUCH_MICROS / 10 - 1);
        deck.call(LONG);
        let refused = deck.one();
        deck.reply(&refused, Reply::refused(Code::NotFound, "none"));
        deck.pass(TOUCH_MICROS / 10 - 1);
        deck.call(LONG);
        let repeated = deck.one();
        deck.reply(&repeated, Reply::Done { response: Vec::new(), repeated: true });
    }
    deck.pass(TOUCH_MICROS / 5);
    assert_eq!(deck.one().command, Command::TouchSession);
}

#[test]
fn a_touch_that_fails_troubles_nobody_and_comes_again() {
    for reply in [Reply::Retry("later"), Reply::Overloaded, Reply::Unknown("who knows".to_owned()), Reply::refused(Code::Internal, "")] {
        let mut deck = Deck::opened(1);
        deck.pass(TOUCH_MICROS);
        let touch = deck.one();
        deck.reply(&touch, reply);
        deck.pass(RETRY_MAX_MICROS);
        deck.nothing_sent();
        deck.pass(TOUCH_MICROS);
        assert_eq!(deck.one().command, Command::TouchSession);
        assert!(deck.answers.is_empty());
    }
}

#[test]
fn a_session_that_is_gone_is_followed_by_another() {
    let mut deck = Deck::opened(1);
    let (told, out, retried, ambiguous) = (deck.call(LONG), deck.call(LONG), deck.call(LONG), deck.call(LONG));
    let sent = std::mem::take(&mut deck.sent);
    deck.reply(&sent[2], Reply::Retry("later"));
    deck.reply(&sent[3], Reply::Unknown("who knows".to_owned()));
    deck.reply(&sent[0], Reply::SessionGone);
    deck.refused(out, Code::Unknown, "its session has expired");
    deck.refused(ambiguous, Code::Unknown, "its session has expired");
    assert_eq!((deck.id_of(out), deck.id_of(ambiguous)), (Some(sent[1].id), Some(sent[3].id)));
    deck.open(9);
    let again = std::mem::take(&mut deck.sent);
    assert_eq!(again.iter().map(numbers).collect::<Vec<_>>(), [(9, 1, 1), (9, 2, 1)], "what is certain goes into the new one");
    assert_eq!([&again[0].command, &again[1].command], [&command(told), &command(retried)]);
    // Late words of the old session change nothing.
    deck.reply(&sent[1], done());
    deck.reply(&sent[2], Reply::SessionGone);
    deck.nothing_sent();
    deck.reply(&again[0], done());
    assert_eq!(*deck.outcome(told), done_outcome());
    assert_eq!(deck.answers.len(), 3);
}

#[test]
fn a_touch_that_finds_its_session_gone_opens_another() {
    let mut deck = Deck::opened(1);
    deck.pass(TOUCH_MICROS);
    let touch = deck.one();
    deck.reply(&touch, Reply::SessionGone);
    deck.open(2);
    deck.nothing_sent();
    deck.call(LONG);
    assert_eq!(numbers(&deck.one()), (2, 1, 1));
}
