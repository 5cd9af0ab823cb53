//! The rows of growth: what a plan costs as a function of CPUs, host nodes, virtual nodes and other guests.

use numapin_core::claims::Claims;
use numapin_core::guest::Guest;
use numapin_core::host::Host;

use super::{Fallible, MODES, Spent, hosts, measure, tell};

/// One picture: the same case with one number changed.
pub(crate) struct Row {
    /// A word for the name of its file.
    pub file: &'static str,
    /// What grows, for the title.
    pub title: &'static str,
    /// What stays the same.
    pub case: &'static str,
    /// The name of the axis.
    pub axis: &'static str,
    /// Whether n log n is drawn beside it.
    pub guided: bool,
    pub lines: Vec<Line>,
}

/// The points of one mode.
pub(crate) struct Line {
    pub name: String,
    pub points: Vec<(u32, Spent)>,
}

type Point = (u32, Host, Guest, Claims);

/// All rows, measured.
pub(crate) fn rows() -> Fallible<Vec<Row>> {
    let mut cpus = Vec::new();
    for n in [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048] {
        cpus.push((
            4 * n,
            hosts::host(4, n),
            hosts::free_nodes(2, 4)?,
            Claims::default(),
        ));
    }
    let mut nodes = Vec::new();
    for n in [1, 2, 4, 8, 16, 32, 64] {
        nodes.push((
            n,
            hosts::host(n, 64),
            hosts::free_nodes(4, 2)?,
            Claims::default(),
        ));
    }
    let mut virtual_nodes = Vec::new();
    for n in 1..=8 {
        virtual_nodes.push((
            n,
            hosts::host(16, 64),
            hosts::free_nodes(n, 4)?,
            Claims::default(),
        ));
    }
    let mut guests = Vec::new();
    for n in [0, 1, 2, 5, 10, 20, 50, 100, 200, 500] {
        guests.push((
            n,
            hosts::host(64, 64),
            hosts::free_nodes(2, 4)?,
            hosts::claims(n),
        ));
    }
    let row = |file, title, case, axis, guided, points: &[Point]| -> Fallible<Row> {
        Ok(Row {
            file,
            title,
            case,
            axis,
            guided,
            lines: lines(points)?,
        })
    };
    Ok(vec![
        row(
            "cpus",
            "One plan, by the CPUs of the host",
            "8 vCPUs in 2 virtual nodes; 4 host nodes, nobody else there",
            "CPUs",
            true,
            &cpus,
        )?,
        row(
            "host-nodes",
            "One plan, by the host nodes of the host",
            "8 vCPUs in 4 virtual nodes; 64 CPUs a host node, nobody else there",
            "host nodes",
            true,
            &nodes,
        )?,
        row(
            "virtual-nodes",
            "One plan, by the virtual nodes of the guest",
            "4 vCPUs a virtual node; 16 host nodes of 64 CPUs, nobody else there",
            "virtual nodes",
            false,
            &virtual_nodes,
        )?,
        row(
            "guests",
            "One plan, by the guests that are there already",
            "8 vCPUs in 2 virtual nodes; 64 host nodes of 64 CPUs; each other guest holds 4 CPUs one-to-one",
            "other guests",
            false,
            &guests,
        )?,
    ])
}

fn lines(points: &[Point]) -> Fallible<Vec<Line>> {
    let mut lines = Vec::new();
    for mode in MODES {
        let mut line = Line {
            name: mode.to_string(),
            points: Vec::new(),
        };
        for (n, host, guest, claims) in points {
            line.points.push((*n, measure(host, guest, claims, mode)?));
        }
        lines.push(line);
    }
    Ok(lines)
}

impl Row {
    /// Prints it, with the exponent of each line from the middle of its axis on: 1 is linear.
    pub(crate) fn tell(&self) {
        tell(&format!("{}: {}", self.title, self.case));
        for line in &self.lines {
            for (n, spent) in &line.points {
                tell(&format!(
                    "{}  {}: {n} {}",
                    spent.told(),
                    line.name,
                    self.axis
                ));
            }
            let (middle, last) = (&line.points[line.points.len() / 2], line.points.last());
            if let Some((n, spent)) = last {
                let times = f64::from(*n) / f64::from(middle.0);
                let exponent = (spent.micros / middle.1.micros).ln() / times.ln();
                tell(&format!(
                    "  {}: grows as n^{exponent:.2} from {} on",
                    line.name, middle.0
                ));
            }
        }
    }
}
