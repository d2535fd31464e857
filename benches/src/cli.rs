//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::runs::{churn, fs, idle, proxy, resp, served, udp};
use crate::servers::{self, Protocol};
use crate::{balance, channels, replicate, runs, tasks, timers, uneven};

#[derive(Parser)]
#[command(name = "multikernel-benches", about = "multikernel beside its peers, measured in pairs")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Echo servers: requests per second, latency, CPU time per request.
    Echo(EchoArgs),
    /// HTTP/1.1 servers: the same.
    Http(HttpArgs),
    /// Short connections: CPU time per connection.
    Churn(ChurnArgs),
    /// Resident memory per idle connection.
    Idle(IdleArgs),
    /// Proxies: bytes per second, CPU time per byte.
    Proxy(ProxyArgs),
    /// Random reads of a cached file: reads per second, CPU time per read.
    Fs(FsArgs),
    /// Datagrams that come back: datagrams per second, CPU time per datagram.
    Udp(UdpArgs),
    /// Key-value servers that speak the protocol of Redis: requests per second of CPU time.
    Resp(RespArgs),
    /// Spawn, yield, ping-pong and sleep within one thread.
    Tasks(Common),
    /// A million sleeps: beginning and dropping one, and how late they end.
    Timers(Common),
    /// Messages between cores: streams, round trips, many senders, idle cores.
    Channels(FigureArgs),
    /// State that all cores have: reading it, changing it, and both.
    Replicate(FigureArgs),
    /// Simulated: how long requests wait when cores hand tasks over, steal, or do neither.
    Balance(FigureArgs),
    /// Load that is not even: a CPU taken away, busy and idle connections, few and many of them.
    Uneven(UnevenArgs),
    #[command(hide = true)]
    Serve {
        name: String,
        protocol: String,
        cores: usize,
        target: Option<SocketAddr>,
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

#[derive(Args, Clone, Debug)]
struct Common {
    /// Shorter slices and fewer rounds: done within 30 seconds.
    #[arg(long)]
    quick: bool,
    /// How often each is visited.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,
    /// Only these, by name or by the start of it.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Args)]
struct EchoArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Bytes per message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    size: u32,
}

#[derive(Args)]
struct HttpArgs {
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Args)]
struct LoadArgs {
    #[command(flatten)]
    common: Common,
    /// Connections to each server.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    connections: u32,
    /// Requests under way on each connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pipeline: u32,
    /// Cores for servers that use several.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    cores: u32,
}

#[derive(Args)]
struct ChurnArgs {
    #[command(flatten)]
    common: Common,
    /// Connections at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=512))]
    connections: u32,
    /// Bytes per message.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    size: u32,
    /// Requests per connection; several values make several tables.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10], value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_conn: Vec<u32>,
    /// Cores for servers that use several.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    cores: u32,
}

#[derive(Args)]
struct IdleArgs {
    #[command(flatten)]
    common: Common,
    /// Connections that each server holds.
    #[arg(long, default_value_t = 8000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Bytes of the one message that each connection exchanges first.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    size: u32,
}

#[derive(Args)]
struct ProxyArgs {
    #[command(flatten)]
    common: Common,
    /// Connections through each proxy.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
}

#[derive(Args)]
struct FsArgs {
    #[command(flatten)]
    common: Common,
    /// MiB of the file.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    mib: u32,
}

#[derive(Args)]
struct UdpArgs {
    #[command(flatten)]
    common: Common,
    /// Sockets that send to each server.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    peers: u32,
    /// Datagrams under way from each of them.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64))]
    window: u32,
    /// Bytes per datagram.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=1400))]
    size: u32,
}

#[derive(Args)]
struct RespArgs {
    #[command(flatten)]
    common: Common,
    /// Connections to each server.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    connections: u32,
    /// Requests under way on each connection; several values make several tables.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16], value_parser = clap::value_parser!(u32).range(1..=256))]
    pipeline: Vec<u32>,
}

#[derive(Args)]
struct FigureArgs {
    #[command(flatten)]
    common: Common,
    /// Only these figures, by name or by the start of it.
    #[arg(long, value_delimiter = ',')]
    figure: Vec<String>,
    /// Draw the plots of the book into this folder.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
}

#[derive(Args)]
struct UnevenArgs {
    #[command(flatten)]
    common: Common,
    /// Only these scenes, by name or by the start of it.
    #[arg(long, value_delimiter = ',')]
    scene: Vec<String>,
    /// Cores of each server.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=256))]
    cores: u32,
}

/// Runs what `args` ask for.
///
/// # Errors
/// On input that makes no sense, and when the run proves nothing.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<()> {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            print!("{error}");
            return Ok(());
        }
        Err(error) => bail!("{}", one_line(&error)),
    };
    match cli.command {
        Command::Echo(args) => served::echo(&args.load.shape(), args.size as usize),
        Command::Http(args) => served::http(&args.load.shape()),
        Command::Churn(args) => churn::run(&churn::Shape {
            common: args.common.shape(),
            at_a_time: args.connections as usize,
            size: args.size as usize,
            per_connection: args.per_conn,
            cores: args.cores as usize,
        }),
        Command::Idle(args) => idle::run(&args.common.shape(), args.connections as usize, args.size as usize),
        Command::Proxy(args) => proxy::run(&args.common.shape(), args.connections as usize),
        Command::Fs(args) => fs::run(&args.common.shape(), args.mib),
        Command::Udp(args) => udp::run(
            &args.common.shape(),
            udp::Plan { peers: args.peers, window: args.window, size: args.size as usize },
        ),
        Command::Resp(args) => resp::run(&args.common.shape(), args.connections as usize, &args.pipeline),
        Command::Tasks(args) => tasks::run(&args.shape()),
        Command::Timers(args) => timers::run(&args.shape()),
        Command::Channels(args) => channels::run(&channels::Shape {
            common: args.common.shape(),
            figures: args.figure,
            plot: args.plot,
        }),
        Command::Replicate(args) => replicate::run(&replicate::Shape {
            common: args.common.shape(),
            figures: args.figure,
            plot: args.plot,
        }),
        Command::Balance(args) => balance::run(&balance::Shape {
            common: args.common.shape(),
            figures: args.figure,
            plot: args.plot,
        }),
        Command::Uneven(args) => uneven::run(&uneven::Shape {
            common: args.common.shape(),
            scenes: args.scene,
            cores: args.cores as usize,
        }),
        Command::Serve { name, protocol, cores, target, file } => {
            let Some(protocol) = Protocol::named(&protocol) else {
                bail!("no protocol is called {protocol}")
            };
            serve(&name, &servers::Job { protocol, cores, target, file })
        }
    }
}

/// What clap has to say, without its advice.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    let line = lines.collect::<Vec<_>>().join(" ");
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "say what to measure: echo, http, churn, idle, proxy, fs, udp, resp, tasks, timers, channels, replicate, \
                balance or uneven"
            .to_owned();
    }
    line.trim_start_matches("error: ").to_owned()
}

impl Common {
    fn shape(&self) -> runs::Common {
        runs::Common {
            quick: self.quick,
            rounds: self.rounds.map(|rounds| rounds as usize),
            only: self.only.clone(),
            json: self.json.clone(),
        }
    }
}

impl LoadArgs {
    fn shape(&self) -> served::Shape {
        served::Shape {
            common: self.common.shape(),
            connections: self.connections as usize,
            pipeline: self.pipeline,
            cores: self.cores as usize,
        }
    }
}

fn serve(name: &str, job: &servers::Job) -> Result<()> {
    let Some(server) = servers::find(name, job.protocol) else {
        bail!("no server for {} is called {name}", job.protocol.name())
    };
    servers::serve(server, job)
}
