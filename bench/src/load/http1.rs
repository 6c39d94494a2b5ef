//! HTTP/1.1 with keep-alive: the request as it is, the answer by its `content-length`.

use crate::load::{Dialogue, Heard};

/// Bytes of an answer that are shown when it is no success.
const SHOWN_BYTES_MAX: usize = 400;

/// One connection.
pub(crate) struct Http1;

/// A request with a JSON body, or without a body.
pub(crate) fn request(verb: &str, path: &str, body: Option<&str>) -> Vec<u8> {
    match body {
        Some(body) => {
            let length = body.len();
            let media = "content-type: application/json";
            format!("{verb} {path} HTTP/1.1\r\nhost: onebox\r\n{media}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
        }
        None => format!("{verb} {path} HTTP/1.1\r\nhost: onebox\r\n\r\n").into_bytes(),
    }
}

impl Dialogue for Http1 {
    fn ask(&mut self, request: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(request);
    }

    fn hear(&mut self, arrived: &mut Vec<u8>) -> Result<Option<Heard>, String> {
        let Some((status, body)) = whole(arrived)? else { return Ok(None) };
        let heard = if status == 200 {
            Heard::Done
        } else {
            let shown = &arrived[..body.end.min(SHOWN_BYTES_MAX)];
            Heard::Failed(String::from_utf8_lossy(shown).into_owned())
        };
        arrived.drain(..body.end);
        Ok(Some(heard))
    }
}

/// The status and the place of the body of the answer that `arrived` begins with, once it is whole.
///
/// # Errors
/// A sentence, if that is no answer with a length.
pub(crate) fn whole(arrived: &[u8]) -> Result<Option<(u16, std::ops::Range<usize>)>, String> {
    let Some(head) = arrived.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = str::from_utf8(&arrived[..head]).map_err(|_| "the head of an answer is not text".to_owned())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let (Some(status), Some(length)) = (status, length) else {
        return Err(format!("an answer without a status and a length: {text}"));
    };
    let body = head + 4..head + 4 + length;
    Ok((arrived.len() >= body.end).then_some((status, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&str], expected: &[Heard]) {
        let (mut arrived, mut heard) = (Vec::new(), Vec::new());
        for piece in pieces {
            arrived.extend_from_slice(piece.as_bytes());
            heard.extend(Http1.hear(&mut arrived).expect("these are answers"));
        }
        assert_eq!(heard, expected);
        assert!(arrived.is_empty(), "{} bytes are left", arrived.len());
    }

    #[test]
    fn an_answer_ends_where_its_length_says() {
        check(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"], &[Heard::Done]);
        check(
            &["HTTP/1.1 200 OK\r\nContent-", "Length: 5\r\n\r\n", "{ ", "  }", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
            &[Heard::Done, Heard::Done],
        );
    }

    #[test]
    fn what_is_no_success_is_shown() {
        let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\ngone";
        check(&[answer], &[Heard::Failed(answer.to_owned())]);
        assert!(Http1.hear(&mut b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).is_err());
        assert!(Http1.hear(&mut b"SSH-2.0\r\n\r\n".to_vec()).is_err());
    }
}
