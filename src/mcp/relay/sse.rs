//! Answers as they arrive: one JSON text, or a stream of server-sent events (WHATWG HTML, section 9.2).

/// What has come of an answer so far.
#[derive(Debug)]
pub(super) struct Events {
    is_stream: bool,
    cap: usize,
    buffer: Vec<u8>,
    data: Option<String>,
    last: String,
}

/// A single message is longer than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Events {
    /// An answer whose single messages have at most `cap` bytes.
    pub(super) fn new(cap: usize, is_stream: bool) -> Self {
        Self { is_stream, cap, buffer: Vec::new(), data: None, last: String::new() }
    }

    /// Takes the next bytes, and gives the texts that are complete.
    pub(super) fn take(&mut self, bytes: &[u8], ended: bool) -> Result<Vec<String>, TooLong> {
        self.buffer.extend_from_slice(bytes);
        let mut texts = Vec::new();
        if self.is_stream {
            while let Some(line) = self.next_line() {
                texts.extend(self.line(&line));
            }
        } else if ended {
            self.last = String::from_utf8_lossy(&self.buffer).into_owned();
            texts.push(self.last.clone());
        }
        let held = self.buffer.len().saturating_add(self.data.as_ref().map_or(0, String::len));
        if held > self.cap { Err(TooLong) } else { Ok(texts) }
    }

    /// The body of an answer that is no stream, once it has ended.
    pub(super) fn rest(&self) -> String {
        self.last.clone()
    }

    /// The next whole line, without its end: LF or CRLF, as servers send them.
    fn next_line(&mut self) -> Option<String> {
        let end = self.buffer.iter().position(|&byte| byte == b'\n')?;
        let rest = self.buffer.split_off(end.saturating_add(1));
        let line = std::mem::replace(&mut self.buffer, rest);
        let line = String::from_utf8_lossy(&line);
        Some(line.trim_end_matches('\n').trim_end_matches('\r').to_owned())
    }

    /// An event's data, once an empty line ends it.
    fn line(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            return self.data.take().filter(|data| !data.is_empty());
        }
        let value = line.strip_prefix("data:")?;
        let value = value.strip_prefix(' ').unwrap_or(value);
        match &mut self.data {
            None => self.data = Some(value.to_owned()),
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let stream =
            b": ping\n\nid: 1\ndata: {\"a\":\ndata: 1}\r\n\r\ndata:\n\ndata: last\n\ndata: unfinished";
        for size in 1..stream.len() {
            let mut events = Events::new(1000, true);
            let mut texts = Vec::new();
            for part in stream.chunks(size) {
                texts.extend(events.take(part, false).unwrap());
            }
            texts.extend(events.take(b"", true).unwrap());
            assert_eq!(texts, ["{\"a\":\n1}", "last"], "in parts of {size}");
        }
    }

    #[test]
    fn one_json_text_comes_at_its_end() {
        let mut events = Events::new(1000, false);
        assert!(events.take(b"{\"a\"", false).unwrap().is_empty());
        assert!(events.take(b":1}", false).unwrap().is_empty());
        assert_eq!(events.take(b"", true).unwrap(), ["{\"a\":1}"]);
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut events = Events::new(10, true);
        assert_eq!(events.take(b"data: 0123456789", false), Err(TooLong));
        let mut events = Events::new(10, true);
        assert_eq!(events.take(b"data: 012345\ndata: 012345\n", false), Err(TooLong));
    }
}
