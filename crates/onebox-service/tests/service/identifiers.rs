//! Request ids and codes as text: each has one form, and no other is read.

use onebox_service::attempt::{RequestId, Sequence, SessionId};
use onebox_service::{Code, Time};

#[test]
fn request_ids_are_read_as_they_are_written() {
    for (session, sequence, not_after) in [(0, 0, 0), (1, 2, 3), (0xabc, 0x10, 1_700_000_000_000_000), (u64::MAX, u64::MAX, u64::MAX)] {
        let id = RequestId { session: SessionId(session), sequence: Sequence(sequence), not_after: Time(not_after) };
        assert_eq!(RequestId::parse(&id.to_string()), Some(id));
    }
}

#[test]
fn no_other_text_is_a_request_id() {
    let others = [
        "",
        "-",
        "--",
        "1-2",
        "1-2-",
        "-2-3",
        "1--3",
        "1-2-3-",
        "1-2-3-4",
        "01-2-3",
        "1-00-3",
        "+1-2-3",
        "1-+2-3",
        "A-2-3",
        "1-2-g",
        " 1-2-3",
        "1-2-3 ",
        "1-2-3\n",
        "0x1-2-3",
        "10000000000000000-2-3",
        "1-2-ffffffffffffffff0",
        "1\u{2d}2\u{2010}3",
        "١-2-3",
    ];
    for text in others {
        assert_eq!(RequestId::parse(text), None, "{text:?}");
    }
}

#[test]
fn codes_have_the_numbers_and_names_of_grpc() {
    let numbers: Vec<i32> = Code::ALL.iter().map(|code| *code as i32).collect();
    assert_eq!(numbers, (2..=16).collect::<Vec<i32>>(), "all but OK and CANCELLED");
    let names = Code::ALL.map(Code::name);
    assert_eq!((names[0], names[3], names[14]), ("UNKNOWN", "NOT_FOUND", "UNAUTHENTICATED"));
    assert!(names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)), "no two share a name");
}

#[test]
fn time_ends_and_does_not_begin_again() {
    assert_eq!(Time(5).plus_micros(7), Time(12));
    assert_eq!(Time(5).plus_micros(u64::MAX), Time(u64::MAX));
}
