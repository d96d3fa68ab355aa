//! Frames as they come off a socket, without waiting for a whole row.
//!
//! Row and COPY data may be as long as PostgreSQL allows, a gigabyte a message, and there may be any number of them.
//! So they leave a [`Frames`] as [`Run`]s: what has arrived of consecutive messages of one type, untouched, in one
//! piece. Everything else comes as a whole [`Frame`], capped before anything is allocated.

use bytes::{Buf as _, BytesMut};

use super::frame::{Frame, FrameError, Leg};

/// The frames of one direction of one connection.
#[derive(Debug)]
pub struct Frames {
    leg: Leg,
    most: Option<usize>,
    /// Type of the message of which a part was handed out, and how many bytes of it are still to come.
    open: Option<(u8, usize)>,
}

/// What comes off a stream of frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A whole message.
    Frame(Frame),
    /// Row or COPY data.
    Run(Run),
}

/// Bytes of one or more consecutive messages of one type: DataRow or CopyData.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    tag: u8,
    bytes: BytesMut,
    /// How many bytes at the front belong to a message that began in an earlier run.
    lead: usize,
    begun: u64,
    is_whole: bool,
}

impl Frames {
    /// The frames of one direction, from its first byte on.
    #[must_use]
    pub fn new(leg: Leg) -> Self {
        Self { leg, most: None, open: None }
    }

    /// With `most` as the cap on the length of a client's statements and values, in bytes.
    #[must_use]
    pub fn within(self, most: usize) -> Self {
        Self { most: Some(most), ..self }
    }

    /// Cuts the next piece off the front of `buffer`; `None` if more bytes are needed. A run takes all that is
    /// there of its type.
    ///
    /// # Errors
    /// When the length field or the type can't be right; the stream can't be read any further.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, FrameError> {
        let tag = match (self.open, buffer.first()) {
            (_, None) => return Ok(None),
            (Some((tag, _)), Some(_)) => tag,
            (None, Some(&tag)) if self.leg.streams(tag) => tag,
            (None, Some(_)) => {
                let frame = match self.most {
                    Some(most) => Frame::decode_within(self.leg, most, buffer),
                    None => Frame::decode(self.leg, buffer),
                };
                return Ok(frame?.map(Piece::Frame));
            }
        };
        Ok(self.run(tag, buffer)?.map(Piece::Run))
    }

    /// Whether a message was handed out in part: nothing else may be said in this direction before its end.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        self.open.is_some()
    }

    fn run(&mut self, tag: u8, buffer: &mut BytesMut) -> Result<Option<Run>, FrameError> {
        let bytes: &[u8] = buffer;
        let lead = self.open.map_or(0, |(_, missing)| missing.min(bytes.len()));
        let mut missing = self.open.map_or(0, |(_, missing)| missing - lead);
        let (mut rest, mut begun) = (bytes.get(lead..).unwrap_or_default(), 0);
        while missing == 0 {
            let Some(size) = size(tag, rest)? else { break };
            begun += 1;
            match rest.get(size..) {
                Some(behind) => rest = behind,
                None => {
                    missing = size - rest.len();
                    rest = &[];
                }
            }
        }
        let end = bytes.len() - rest.len();
        self.open = (missing > 0).then_some((tag, missing));
        if end == 0 {
            return Ok(None);
        }
        Ok(Some(Run { tag, bytes: buffer.split_to(end), lead, begun, is_whole: missing == 0 }))
    }
}

/// The size of the message of type `tag` that `bytes` begin with; `None` if another type begins there, or its head is
/// not yet there.
fn size(tag: u8, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(&[first, prefix @ ..]) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
    if first != tag {
        return Ok(None);
    }
    let length = u32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(size @ SHORTEST..=LONGEST) => Ok(Some(size + 1)),
        Ok(_) | Err(_) => Err(FrameError::Length { tag, length }),
    }
}

impl Run {
    /// One whole message.
    #[must_use]
    pub fn of(frame: &Frame) -> Self {
        let mut bytes = BytesMut::with_capacity(frame.body.len().saturating_add(HEAD));
        frame.put(&mut bytes);
        Self { tag: frame.tag, bytes, lead: 0, begun: 1, is_whole: true }
    }

    /// The messages' type.
    #[must_use]
    pub fn tag(&self) -> u8 {
        self.tag
    }

    /// How many messages begin in it.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Whether its last message ends in it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether it begins with the rest of a message that began earlier.
    #[must_use]
    pub fn continues(&self) -> bool {
        self.lead > 0
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> BytesMut {
        self.bytes
    }

    /// The size in bytes, type and length included, of each message that begins in it.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        let mut rest = self.bytes.get(self.lead..).unwrap_or_default();
        std::iter::from_fn(move || {
            let size = size(self.tag, rest).ok().flatten()?;
            rest.advance(size.min(rest.len()));
            Some(size)
        })
    }

    /// Forgets all but the rest of the earlier message and the first `count` messages that begin in it.
    pub fn keep(&mut self, count: u64) {
        if count >= self.begun {
            return;
        }
        let kept = usize::try_from(count).unwrap_or(usize::MAX);
        let size: usize = self.sizes().take(kept).sum();
        self.bytes.truncate(self.lead + size);
        self.begun = count;
        self.is_whole = true;
    }

    /// Takes off all but the rest of the earlier message and the first `count` messages that begin in it; `None` if there
    /// is no more.
    pub fn split_off(&mut self, count: u64) -> Option<Self> {
        if count >= self.begun {
            return None;
        }
        let kept = usize::try_from(count).unwrap_or(usize::MAX);
        let size: usize = self.sizes().take(kept).sum();
        let bytes = self.bytes.split_off(self.lead.saturating_add(size).min(self.bytes.len()));
        let behind =
            Self { tag: self.tag, bytes, lead: 0, begun: self.begun - count, is_whole: self.is_whole };
        self.begun = count;
        self.is_whole = true;
        Some(behind)
    }

    /// Forgets every message that begins in it.
    pub fn keep_lead(&mut self) {
        self.keep(0);
    }
}

impl Leg {
    /// Whether messages of type `tag` are handed on before they are complete.
    fn streams(self, tag: u8) -> bool {
        match self {
            Self::Frontend => tag == b'd',
            Self::Backend => matches!(tag, b'D' | b'd'),
        }
    }
}

/// Type and length.
const HEAD: usize = 5;
/// A length field counts itself.
const SHORTEST: usize = 4;
/// What PostgreSQL can hold in memory at once, less one byte.
const LONGEST: usize = 0x3fff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        Frame::new(tag, body.to_vec()).to_bytes().to_vec()
    }

    /// Everything that comes out of `bytes`, fed in slices of `step`.
    fn pieces(bytes: &[u8], step: usize) -> Vec<Piece> {
        let (mut frames, mut buffer, mut pieces) = (Frames::new(Leg::Backend), BytesMut::new(), Vec::new());
        for slice in bytes.chunks(step) {
            buffer.extend_from_slice(slice);
            while let Some(piece) = frames.next(&mut buffer).unwrap() {
                pieces.push(piece);
            }
        }
        assert!(buffer.is_empty());
        pieces
    }

    #[test]
    fn rows_come_in_one_run_and_the_rest_as_frames() {
        let bytes =
            [message(b'T', b"x"), message(b'D', b"one"), message(b'D', b""), message(b'C', b"y")].concat();
        let pieces = pieces(&bytes, bytes.len());
        let [Piece::Frame(t), Piece::Run(run), Piece::Frame(c)] = &pieces[..] else { panic!("{pieces:?}") };
        assert_eq!((t.tag, c.tag, run.begun(), run.is_whole()), (b'T', b'C', 2, true));
        assert_eq!(run.sizes().collect::<Vec<_>>(), [8, 5]);
    }

    #[test]
    fn however_the_bytes_arrive_the_same_leave_and_each_message_begins_once() {
        let bytes = [
            message(b'D', &[b'D'; 40]),
            message(b'D', b"d\0\0"),
            message(b'd', b"copy"),
            message(b'Z', b"I"),
            message(b'D', b""),
        ]
        .concat();
        for step in 1..=bytes.len() {
            let (mut out, mut begun) = (Vec::new(), 0);
            for piece in pieces(&bytes, step) {
                match piece {
                    Piece::Frame(frame) => out.extend_from_slice(&frame.to_bytes()),
                    Piece::Run(run) => {
                        begun += run.begun();
                        out.extend_from_slice(&run.into_bytes());
                    }
                }
            }
            assert_eq!((out.as_slice(), begun), (bytes.as_slice(), 4), "in slices of {step}");
        }
    }

    #[test]
    fn a_row_is_handed_on_before_it_is_complete() {
        let mut frames = Frames::new(Leg::Backend);
        let mut buffer = BytesMut::from(&b"D\x3f\xff\xff\xffabc"[..]);
        let Some(Piece::Run(run)) = frames.next(&mut buffer).unwrap() else { panic!("no run") };
        assert_eq!((run.begun(), run.is_whole(), run.continues()), (1, false, false));
        assert!(frames.is_midway());
        buffer.extend_from_slice(b"more");
        let Some(Piece::Run(run)) = frames.next(&mut buffer).unwrap() else { panic!("no run") };
        assert_eq!((run.begun(), run.is_whole(), run.continues()), (0, false, true));
    }

    #[test]
    fn a_length_that_no_row_can_have_is_refused() {
        for length in [0_u32, 3, 0x4000_0000, u32::MAX] {
            let mut buffer = BytesMut::from(&message(b'D', b"ok")[..]);
            buffer.extend_from_slice(b"D");
            buffer.extend_from_slice(&length.to_be_bytes());
            let mut frames = Frames::new(Leg::Backend);
            assert_eq!(frames.next(&mut buffer), Err(FrameError::Length { tag: b'D', length }));
        }
    }

    #[test]
    fn a_run_is_taken_apart_where_a_message_begins_and_nothing_is_lost() {
        let bytes = [message(b'D', b"first"), message(b'D', b"second"), message(b'D', b"third")].concat();
        for (count, arrived) in (0..4).flat_map(|count| [(count, bytes.len()), (count, bytes.len() - 3)]) {
            let mut buffer = BytesMut::from(&bytes[..arrived]);
            let Some(Piece::Run(mut run)) = Frames::new(Leg::Backend).next(&mut buffer).unwrap() else {
                panic!("no run")
            };
            let is_whole = run.is_whole();
            let behind = run.split_off(count);
            assert_eq!(run.begun(), count.min(3));
            assert_eq!(behind.is_some(), count < 3);
            let last = behind.as_ref().unwrap_or(&run);
            assert_eq!(last.is_whole(), is_whole);
            let mut all = run.into_bytes();
            all.extend(behind.into_iter().flat_map(Run::into_bytes));
            assert_eq!(all, bytes[..arrived]);
        }
    }

    #[test]
    fn a_run_is_cut_where_a_message_begins() {
        let bytes = [message(b'D', b"first"), message(b'D', b"second"), message(b'D', b"third")].concat();
        for (count, size) in [(0, 0), (1, 10), (2, 21), (3, 31), (9, 31)] {
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut frames = Frames::new(Leg::Backend);
            let Some(Piece::Run(mut run)) = frames.next(&mut buffer).unwrap() else { panic!("no run") };
            run.keep(count);
            assert_eq!((run.begun(), run.is_whole(), run.into_bytes().len()), (count.min(3), true, size));
        }
    }
}
