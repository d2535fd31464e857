//! The commands, and where their keys are.

/// Which cores a command concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// That of its first argument, a key or a channel.
    Key,
    /// Those of its arguments, each of them a key.
    Keys,
    /// Those of every other argument: keys and values.
    Pairs,
    /// Every core.
    Every,
    /// None: it is the connection's own affair.
    Session,
}

macro_rules! verbs {
    ($($verb:ident $upper:literal $name:literal $least:literal ..= $most:tt $reach:ident;)+) => {
        /// A command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "they are Redis's")]
        pub enum Verb {
            $($verb,)+
        }

        impl Verb {
            /// How many there are.
            pub const COUNT: usize = [$($least),+].len();

            /// Finds a command by its name, in any case.
            #[must_use]
            pub fn find(name: &[u8]) -> Option<Self> {
                let mut upper = [0; 16];
                let upper = upper.get_mut(..name.len())?;
                upper.copy_from_slice(name);
                upper.make_ascii_uppercase();
                match &*upper {
                    $($upper => Some(Self::$verb),)+
                    _ => None,
                }
            }

            /// Its name in errors.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$verb => $name,)+
                }
            }

            /// Whether it takes so many arguments.
            #[must_use]
            pub fn takes(self, count: usize) -> bool {
                let (least, most) = match self {
                    $(Self::$verb => ($least, verbs!(@most $most)),)+
                };
                (least..=most).contains(&count)
                    && (self.reach() != Reach::Pairs || count % 2 == 0)
            }

            /// Which cores it concerns.
            #[must_use]
            pub fn reach(self) -> Reach {
                match self {
                    $(Self::$verb => Reach::$reach,)+
                }
            }
        }
    };
    (@most any) => { usize::MAX };
    (@most $most:literal) => { $most };
}

verbs! {
    Append b"APPEND" "append" 2..=2 Key;
    Command b"COMMAND" "command" 0..=any Session;
    Config b"CONFIG" "config" 1..=any Session;
    DbSize b"DBSIZE" "dbsize" 0..=0 Every;
    Decr b"DECR" "decr" 1..=1 Key;
    DecrBy b"DECRBY" "decrby" 2..=2 Key;
    Del b"DEL" "del" 1..=any Keys;
    Echo b"ECHO" "echo" 1..=1 Session;
    Exists b"EXISTS" "exists" 1..=any Keys;
    Expire b"EXPIRE" "expire" 2..=any Key;
    FlushAll b"FLUSHALL" "flushall" 0..=1 Every;
    Get b"GET" "get" 1..=1 Key;
    Hello b"HELLO" "hello" 0..=any Session;
    Incr b"INCR" "incr" 1..=1 Key;
    IncrBy b"INCRBY" "incrby" 2..=2 Key;
    Info b"INFO" "info" 0..=any Session;
    LLen b"LLEN" "llen" 1..=1 Key;
    LPop b"LPOP" "lpop" 1..=2 Key;
    LPush b"LPUSH" "lpush" 2..=any Key;
    LRange b"LRANGE" "lrange" 3..=3 Key;
    MGet b"MGET" "mget" 1..=any Keys;
    MSet b"MSET" "mset" 2..=any Pairs;
    PExpire b"PEXPIRE" "pexpire" 2..=any Key;
    PSubscribe b"PSUBSCRIBE" "psubscribe" 1..=any Session;
    PTtl b"PTTL" "pttl" 1..=1 Key;
    PUnsubscribe b"PUNSUBSCRIBE" "punsubscribe" 0..=any Session;
    Persist b"PERSIST" "persist" 1..=1 Key;
    Ping b"PING" "ping" 0..=1 Session;
    Publish b"PUBLISH" "publish" 2..=2 Key;
    Quit b"QUIT" "quit" 0..=any Session;
    RPop b"RPOP" "rpop" 1..=2 Key;
    RPush b"RPUSH" "rpush" 2..=any Key;
    Select b"SELECT" "select" 1..=1 Session;
    Set b"SET" "set" 2..=any Key;
    StrLen b"STRLEN" "strlen" 1..=1 Key;
    Subscribe b"SUBSCRIBE" "subscribe" 1..=any Session;
    Ttl b"TTL" "ttl" 1..=1 Key;
    Type b"TYPE" "type" 1..=1 Key;
    Unsubscribe b"UNSUBSCRIBE" "unsubscribe" 0..=any Session;
}

impl Verb {
    /// Whether a connection that listens to channels may still ask for it.
    #[must_use]
    pub fn is_for_listeners(self) -> bool {
        use Verb::{PSubscribe, PUnsubscribe, Ping, Quit, Subscribe, Unsubscribe};
        matches!(self, Ping | Quit | Subscribe | Unsubscribe | PSubscribe | PUnsubscribe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_nothing_else_is() {
        assert_eq!(Verb::find(b"GeT"), Some(Verb::Get));
        assert_eq!(Verb::find(b"punsubscribe"), Some(Verb::PUnsubscribe));
        for name in ["", "ge", "gett", "get ", "a name that is longer than any"] {
            assert_eq!(Verb::find(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn pairs_come_in_pairs() {
        assert!(Verb::MSet.takes(4) && !Verb::MSet.takes(3) && !Verb::MSet.takes(0));
        assert!(Verb::DbSize.takes(0) && !Verb::DbSize.takes(1));
    }
}
