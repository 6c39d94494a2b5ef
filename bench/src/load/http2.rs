//! Unary gRPC over HTTP/2, as little of it as one request at a time needs.
//!
//! Requests are HEADERS and DATA frames built once, with the stream's number put in as they are sent; their header
//! block uses the static table and literals only, so it depends on no state. Of an answer the frames are read and the
//! header blocks are not: a success is a message followed by trailers, anything else is what the server sends of
//! trailers alone. RFC 9113 for the frames, RFC 7541 for the block.

use crate::load::{Dialogue, Heard};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
/// Bytes before a message of gRPC: whether it is compressed, and its length.
const MESSAGE_PREFIX_BYTES: usize = 5;
/// Received bytes after which the server is allowed as many more; below the 65,535 that it may send unasked.
const WINDOW_STEP_BYTES: u32 = 32 * 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// SETTINGS and PING: an acknowledgement. On HEADERS and DATA this bit is [`END_STREAM`].
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One connection.
pub(crate) struct Http2 {
    stream: u32,
    /// A message of the current answer has begun.
    message: bool,
    /// What the protocol wants said with the next request.
    owed: Vec<u8>,
    unreported: u32,
}

impl Http2 {
    pub(crate) fn new() -> Http2 {
        let mut owed = PREFACE.to_vec();
        // No setting differs from its default.
        frame(&mut owed, SETTINGS, 0, 0, &[]);
        Http2 { stream: 0, message: false, owed, unreported: 0 }
    }

    /// Takes in one frame. Gives the answer if it ends with it.
    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Option<Heard>, String> {
        match kind {
            SETTINGS if flags & ACK == 0 => frame(&mut self.owed, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => frame(&mut self.owed, PING, ACK, 0, payload),
            GOAWAY => return Err("the server is ending the connection".to_owned()),
            RST_STREAM if stream == self.stream => return Ok(Some(Heard::Failed("the server reset the stream".to_owned()))),
            DATA => {
                self.message |= payload.len() >= MESSAGE_PREFIX_BYTES;
                self.unreported += u32::try_from(payload.len()).expect("a frame is small");
                if self.unreported >= WINDOW_STEP_BYTES {
                    frame(&mut self.owed, WINDOW_UPDATE, 0, 0, &self.unreported.to_be_bytes());
                    self.unreported = 0;
                }
            }
            HEADERS if flags & END_STREAM != 0 && stream == self.stream => {
                let failed = || Heard::Failed("a gRPC answer without a message: an error".to_owned());
                return Ok(Some(if self.message { Heard::Done } else { failed() }));
            }
            // Answers to what was said, windows that one request at a time never fills, hints.
            _ => {}
        }
        Ok(None)
    }
}

/// A unary request to a method, `/package.Service/Method`, as frames of stream 0.
pub(crate) fn request(path: &str, message: &[u8]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    literal(&mut block, &[0x04], path); // :path
    literal(&mut block, &[0x01], "onebox"); // :authority
    literal(&mut block, &[0x0f, 0x10], "application/grpc"); // content-type
    block.push(0x00);
    string(&mut block, "te");
    string(&mut block, "trailers");
    let length = u32::try_from(message.len()).expect("a message is small");
    let mut body = vec![0];
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(message);
    let mut request = Vec::new();
    frame(&mut request, HEADERS, END_HEADERS, 0, &block);
    frame(&mut request, DATA, END_STREAM, 0, &body);
    request
}

fn literal(block: &mut Vec<u8>, name: &[u8], value: &str) {
    block.extend_from_slice(name);
    string(block, value);
}

fn string(block: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "{text:?} takes a longer form of its length");
    block.push(text.len() as u8);
    block.extend_from_slice(text.as_bytes());
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a frame is small");
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The kind, flags, stream and whole length of the frame at the start of `bytes`.
fn header(bytes: &[u8]) -> Option<(u8, u8, u32, usize)> {
    let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    Some((kind, flags, u32::from_be_bytes(stream), FRAME_HEADER_BYTES + length))
}

impl Dialogue for Http2 {
    fn ask(&mut self, request: &[u8], out: &mut Vec<u8>) {
        self.stream = if self.stream == 0 { 1 } else { self.stream + 2 };
        self.message = false;
        out.append(&mut self.owed);
        let mut at = out.len();
        out.extend_from_slice(request);
        while let Some((_, _, _, length)) = header(&out[at..]) {
            out[at + 5..at + FRAME_HEADER_BYTES].copy_from_slice(&self.stream.to_be_bytes());
            at += length;
        }
    }

    fn hear(&mut self, arrived: &mut Vec<u8>) -> Result<Option<Heard>, String> {
        let (mut at, mut heard) = (0, None);
        while heard.is_none()
            && let Some((kind, flags, stream, length)) = header(&arrived[at..])
            && let Some(bytes) = arrived.get(at..at + length)
        {
            heard = self.take(kind, flags, stream, &bytes[FRAME_HEADER_BYTES..])?;
            at += length;
        }
        arrived.drain(..at);
        Ok(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dialogue that has sent two requests and waits for the answer on stream 3.
    fn asked() -> Http2 {
        let mut dialogue = Http2::new();
        for _ in 0..2 {
            dialogue.ask(&request("/a.B/C", b"x"), &mut Vec::new());
        }
        dialogue
    }

    #[test]
    fn every_frame_of_a_request_carries_its_stream() {
        let (mut dialogue, mut out) = (asked(), Vec::new());
        dialogue.ask(&request("/a.B/C", b"x"), &mut out);
        let (kind, _, stream, length) = header(&out).unwrap();
        assert_eq!((kind, stream), (HEADERS, 5));
        let (kind, flags, stream, data) = header(&out[length..]).unwrap();
        assert_eq!((kind, flags, stream, length + data), (DATA, END_STREAM, 5, out.len()));
        assert_eq!(&out[length + FRAME_HEADER_BYTES..], &[0, 0, 0, 0, 1, b'x']);
    }

    #[test]
    fn a_message_with_trailers_is_a_success_however_it_arrives() {
        let mut answer = Vec::new();
        frame(&mut answer, SETTINGS, 0, 0, &[]);
        frame(&mut answer, HEADERS, END_HEADERS, 3, &[0x88]);
        frame(&mut answer, DATA, 0, 3, &[0, 0, 0, 0, 0]);
        frame(&mut answer, HEADERS, END_HEADERS | END_STREAM, 3, &[0x88]);
        let (mut dialogue, mut arrived, mut heard) = (asked(), Vec::new(), Vec::new());
        for byte in answer {
            arrived.push(byte);
            heard.extend(dialogue.hear(&mut arrived).unwrap());
        }
        assert_eq!((heard, arrived), (vec![Heard::Done], Vec::new()));
        let mut out = Vec::new();
        dialogue.ask(&[], &mut out);
        assert_eq!(header(&out).map(|(kind, flags, ..)| (kind, flags)), Some((SETTINGS, ACK)));
    }

    #[test]
    fn trailers_alone_are_a_failure() {
        let mut answer = Vec::new();
        frame(&mut answer, HEADERS, END_HEADERS | END_STREAM, 3, &[0x88]);
        assert!(matches!(asked().hear(&mut answer), Ok(Some(Heard::Failed(_)))));
        let mut answer = Vec::new();
        frame(&mut answer, GOAWAY, 0, 0, &[0; 8]);
        assert!(asked().hear(&mut answer).is_err());
    }
}
