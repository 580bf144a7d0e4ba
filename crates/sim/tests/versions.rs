//! Nodes of two versions in one cluster.

use std::time::Duration;

use sim::fault::{Fault, Machines};
use sim::network::Machine;
use sim::plan::Plan;
use sim::run::run;

/// Where the next version runs: a founder, and a machine that joins.
const NEWER: Machines = Machines(0b10010);

/// Five machines, of which three found the cluster. The leader of the only shard is moved between versions,
/// and while each of them leads, a node of the other one gets a replica.
fn plan() -> Plan {
    let seconds = Duration::from_secs;
    let plan = Plan {
        founders: 3,
        machines: 5,
        shards: 1,
        replicas: 3,
        lease: true,
        newer: NEWER,
        wall_offsets: vec![0; 5],
        turmoil: (seconds(3), seconds(42)),
        ..Plan::of(1)
    };
    let lead = |machine| Fault::Lead {
        shard: 0,
        machine: Machine(machine),
    };
    let snapshot = |machine| Fault::Snapshot {
        machine: Machine(machine),
    };
    let replace = |from, to| Fault::Move {
        shard: 0,
        from: Machine(from),
        to: Machine(to),
    };
    let faults = [
        Fault::Join {
            machine: Machine(3),
        },
        Fault::Join {
            machine: Machine(4),
        },
        lead(1),
        snapshot(1),
        replace(2, 3),
        snapshot(3),
        lead(0),
        snapshot(0),
        replace(1, 4),
        lead(4),
        snapshot(4),
        Fault::Crash {
            machine: Machine(4),
            death: sim::fault::Death::Kill,
            down: seconds(1),
            disk: sim::fault::DiskFate::Kept,
        },
    ];
    let at = (0..).map(|number| seconds(4 + 3 * number));
    Plan {
        faults: at.zip(faults).collect(),
        requests: requests(&plan),
        ..plan
    }
}

/// Of a plan whose clients go on to the end.
fn requests(plan: &Plan) -> Vec<sim::plan::PlannedRequest> {
    let end = plan.quiet_end();
    (1..)
        .map(|number| sim::plan::PlannedRequest {
            at: Duration::from_millis(1_000 + 40 * number),
            client: (number % 4) as u32,
            machine: Machine((number % 5) as u8),
            key: (number % 3) as u8,
            op: match number % 2 {
                0 => sim::op::Op::Get,
                _ => sim::op::Op::Set(number),
            },
        })
        .take_while(|request| request.at < end)
        .collect()
}

#[test]
fn nodes_of_the_next_minor_version_take_part_in_everything() {
    let outcome = run(&plan(), None, true);
    let trace = outcome.trace.join("\n");
    let report = outcome
        .result
        .unwrap_or_else(|violation| panic!("{violation}\n{trace}"));
    let calls = report.calls;
    assert!(calls.answered > 500, "{calls:?}");
    // In this order: each version leads, and fills a node of the other one.
    let mut rest = trace.as_str();
    for event in [
        "m1 leads shard 0",
        "m3 received a snapshot of shard 0",
        "m0 leads shard 0",
        "m4 received a snapshot of shard 0",
        "m4 leads shard 0",
        "m4 made a snapshot of shard 0",
        "m4 starts",
    ] {
        let at = rest.find(event);
        let at = at.unwrap_or_else(|| panic!("no {event:?} in the rest of\n{trace}"));
        rest = &rest[at..];
    }
}

#[test]
fn what_all_nodes_read_is_used() {
    // Then the fourth machine, which lags behind, may not join any more, and is told why.
    let plan = Plan {
        newer: Machines(0b10111),
        ..plan()
    };
    let outcome = run(&plan, None, true);
    let trace = outcome.trace.join("\n");
    outcome
        .result
        .unwrap_or_else(|violation| panic!("{violation}\n{trace}"));
    let told = "reads formats up to 1, but the cluster uses formats 2, as all its nodes read them: start a newer version";
    assert!(trace.contains(told), "{trace}");
}
