//! The commands that touch no key.

use super::codec::Args;
use super::pubsub::matches;
use super::reply::{NOT_INTEGER, Reply, parse_integer};
use super::verb::Verb;

/// What a connection knows of itself and of the server.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// The connection's number.
    pub id: u64,
    /// Whether it listens to channels.
    pub listens: bool,
    /// How many connections there are.
    pub clients: usize,
    /// How many bytes of keys and values the server holds at most.
    pub memory: usize,
    /// For how many seconds the server has been there.
    pub uptime: u64,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Session {
    /// Finds out what a request asks for, if it may be asked here and now. If not, says why.
    ///
    /// # Errors
    ///
    /// The reply.
    pub fn admit(&self, request: Args<'_>) -> Result<Verb, String> {
        let name = request.at(0);
        let Some(verb) = Verb::find(name) else {
            let shown = |bytes: &[u8]| bytes[..bytes.len().min(128)].escape_ascii().to_string();
            let args: String =
                request.after(1).iter().take(8).map(|arg| format!("'{}' ", shown(arg))).collect();
            return Err(format!("ERR unknown command '{}', with args beginning with: {args}", shown(name)));
        };
        if !verb.takes(request.len() - 1) {
            return Err(format!("ERR wrong number of arguments for '{}' command", verb.name()));
        }
        if self.listens && !verb.is_for_listeners() {
            return Err(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT are allowed in this context",
                verb.name()
            ));
        }
        Ok(verb)
    }

    /// Answers a command of [`Reach::Session`](super::verb::Reach::Session) that has nothing to do with channels.
    pub fn answer(&self, verb: Verb, args: Args<'_>, out: &mut Vec<u8>) {
        match verb {
            Verb::Ping => self.ping(args, out),
            Verb::Echo => out.bulk(args.at(0)),
            Verb::Select => match parse_integer(args.at(0)) {
                Some(0) => out.simple("OK"),
                Some(_) => out.error("ERR DB index is out of range"),
                None => out.error(NOT_INTEGER),
            },
            Verb::Hello => self.hello(args, out),
            Verb::Config => self.config(args, out),
            Verb::Info => out.bulk(self.info().as_bytes()),
            Verb::Command if args.iter().next().is_some_and(|what| what.eq_ignore_ascii_case(b"count")) => {
                out.integer(Verb::COUNT as i64);
            }
            // Clients ask for what they might complete or explain. There is nothing, and they live with it.
            Verb::Command => out.array(0),
            _ => out.simple("OK"),
        }
    }

    fn ping(&self, args: Args<'_>, out: &mut Vec<u8>) {
        match (self.listens, args.iter().next()) {
            (false, None) => out.simple("PONG"),
            (false, Some(text)) => out.bulk(text),
            (true, text) => {
                out.array(2);
                out.bulk(b"pong");
                out.bulk(text.unwrap_or_default());
            }
        }
    }

    fn hello(&self, args: Args<'_>, out: &mut Vec<u8>) {
        match args.iter().next().map(parse_integer) {
            None | Some(Some(2)) => {}
            Some(Some(_)) => return out.error("NOPROTO unsupported protocol version"),
            Some(None) => return out.error("ERR Protocol version is not an integer or out of range"),
        }
        if let Some(option) = args.iter().nth(1) {
            return out.error(&format!("ERR Syntax error in HELLO option '{}'", option.escape_ascii()));
        }
        out.array(14);
        for (key, value) in [("server", "multikernel"), ("version", VERSION)] {
            out.bulk(key.as_bytes());
            out.bulk(value.as_bytes());
        }
        out.bulk(b"proto");
        out.integer(2);
        out.bulk(b"id");
        out.integer(self.id as i64);
        for text in ["mode", "standalone", "role", "master", "modules"] {
            out.bulk(text.as_bytes());
        }
        out.array(0);
    }

    fn config(&self, args: Args<'_>, out: &mut Vec<u8>) {
        if !args.at(0).eq_ignore_ascii_case(b"get") {
            let shown = args.at(0).escape_ascii();
            return out.error(&format!("ERR unknown subcommand '{shown}'. Try CONFIG GET."));
        }
        let settings = [
            ("appendonly", "no".to_owned()),
            ("databases", "1".to_owned()),
            ("maxmemory", self.memory.to_string()),
            ("save", String::new()),
        ];
        let asked = |name: &str| {
            let mut patterns = args.after(1).iter();
            patterns.any(|pattern| matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
        };
        let found: Vec<_> = settings.iter().filter(|(name, _)| asked(name)).collect();
        out.array(2 * found.len());
        for (name, value) in found {
            out.bulk(name.as_bytes());
            out.bulk(value.as_bytes());
        }
    }

    fn info(&self) -> String {
        format!(
            "# Server\r\nmultikernel_version:{VERSION}\r\nredis_mode:standalone\r\nuptime_in_seconds:{}\r\n\r\n\
             # Clients\r\nconnected_clients:{}\r\n\r\n# Memory\r\nmaxmemory:{}\r\n",
            self.uptime, self.clients, self.memory
        )
    }
}
