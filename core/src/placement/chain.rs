//! An exact dynamic programme over a chain of choices, with the lowest CPU set among all cheapest ones.
//!
//! A chain has layers (cores, or L3s); in each one option is chosen, which costs something and leads from state to state. The
//! cheapest way is found from the end backwards. Usually many ways cost the same, since a host has many equal cores; the ways
//! that do are kept as a graph, and the CPUs, in ascending order, each throw out of it what does not hold them, unless that
//! were everything. What remains is the lowest set, ids compared one by one. Each edge is thrown out at most once.

use super::number::Number;

/// A chain of choices.
pub(super) trait Chain<W> {
    /// How many layers it has.
    fn layers(&self) -> usize;
    /// How many states there are between two layers.
    fn states(&self) -> usize;
    /// How many options a layer has; in a layer a higher option holds all CPUs of a lower one.
    fn options(&self, layer: usize) -> usize;
    /// Where an option leads from a state, and what it costs; `None`: it can't be taken there.
    fn step(&self, layer: usize, state: usize, option: usize) -> Option<(usize, &W)>;
}

/// The lowest costs from state `start` to each state behind the last layer.
pub(super) fn costs<W: Number>(chain: &impl Chain<W>, start: usize) -> Vec<Option<W>> {
    let mut now: Vec<Option<W>> = vec![None; chain.states()];
    now[start] = Some(W::nothing());
    let mut next: Vec<Option<W>> = vec![None; chain.states()];
    for layer in 0..chain.layers() {
        next.fill(None);
        for (state, cost) in now.iter().enumerate() {
            let Some(cost) = cost else { continue };
            for option in 0..chain.options(layer) {
                let Some((head, more)) = chain.step(layer, state, option) else {
                    continue;
                };
                let sum = cost.plus(more);
                if next[head].as_ref().is_none_or(|best| sum < *best) {
                    next[head] = Some(sum);
                }
            }
        }
        std::mem::swap(&mut now, &mut next);
    }
    now
}

/// The lowest cost from `start` to a state that `end` accepts, and the option of each layer. Among the cheapest ways it is the
/// one with the lowest CPUs: `wishes` are the CPUs in ascending order, each as (layer, option that does not hold it any more:
/// all higher ones do).
pub(super) fn lowest<W: Number>(
    chain: &impl Chain<W>,
    start: usize,
    end: impl Fn(usize) -> bool,
    wishes: impl Iterator<Item = (usize, usize)>,
) -> Option<(W, Vec<usize>)> {
    let (cost, cheapest) = backwards(chain, start, end)?;
    let mut graph = Graph::new(chain, start, &cheapest);
    for (layer, without) in wishes {
        graph.hold(layer, without);
    }
    Some((cost, graph.way()))
}

/// Which options are cheapest from each state of each layer, as bits.
struct Cheapest {
    states: usize,
    words: usize,
    bits: Vec<u64>,
}

impl Cheapest {
    fn place(&self, layer: usize, state: usize, option: usize) -> (usize, u64) {
        let word = (layer * self.states + state) * self.words + option / 64;
        (word, 1 << (option % 64))
    }

    fn clear(&mut self, layer: usize, state: usize) {
        let (first, _) = self.place(layer, state, 0);
        self.bits[first..first + self.words].fill(0);
    }
}

fn backwards<W: Number>(
    chain: &impl Chain<W>,
    start: usize,
    end: impl Fn(usize) -> bool,
) -> Option<(W, Cheapest)> {
    let (layers, states) = (chain.layers(), chain.states());
    let options = (0..layers)
        .map(|layer| chain.options(layer))
        .max()
        .unwrap_or(0);
    let words = options.div_ceil(64).max(1);
    let mut cheapest = Cheapest {
        states,
        words,
        bits: vec![0; layers * states * words],
    };
    let mut after: Vec<Option<W>> = (0..states).map(|s| end(s).then(W::nothing)).collect();
    let mut before: Vec<Option<W>> = vec![None; states];
    for layer in (0..layers).rev() {
        for (state, best) in before.iter_mut().enumerate() {
            *best = None;
            for option in 0..chain.options(layer) {
                let Some((head, more)) = chain.step(layer, state, option) else {
                    continue;
                };
                let Some(rest) = &after[head] else { continue };
                let sum = rest.plus(more);
                if best.as_ref().is_none_or(|best| sum < *best) {
                    cheapest.clear(layer, state);
                    *best = Some(sum);
                } else if best.as_ref() != Some(&sum) {
                    continue;
                }
                let (word, bit) = cheapest.place(layer, state, option);
                cheapest.bits[word] |= bit;
            }
        }
        std::mem::swap(&mut after, &mut before);
    }
    let cost = after.get_mut(start)?.take()?;
    Some((cost, cheapest))
}

struct Edge {
    tail: usize,
    head: usize,
    option: usize,
    alive: bool,
}

/// All cheapest ways: nodes are states between layers, every living edge is on a way from the start to an end.
struct Graph {
    edges: Vec<Edge>,
    /// Where the edges of a layer begin.
    layers: Vec<usize>,
    /// Where the edges out of a node begin (they follow one another), and how many live.
    out: Vec<(usize, usize)>,
    living_out: Vec<usize>,
    /// Where the edges into a node begin in `into`, and how many live.
    into_first: Vec<usize>,
    into: Vec<usize>,
    living_in: Vec<usize>,
    /// How many edges of a layer live, by option.
    by_option: Vec<Vec<usize>>,
    start: usize,
}

impl Graph {
    fn new<W: Number>(chain: &impl Chain<W>, start: usize, cheapest: &Cheapest) -> Self {
        let (layers, states) = (chain.layers(), chain.states());
        let nodes = (layers + 1) * states;
        let mut graph = Self {
            edges: Vec::new(),
            layers: Vec::with_capacity(layers + 1),
            out: vec![(0, 0); nodes],
            living_out: vec![0; nodes],
            into_first: vec![0; nodes + 1],
            into: Vec::new(),
            living_in: vec![0; nodes],
            by_option: (0..layers)
                .map(|layer| vec![0; chain.options(layer)])
                .collect(),
            start,
        };
        for layer in 0..layers {
            graph.layers.push(graph.edges.len());
            for state in 0..states {
                let tail = layer * states + state;
                if tail != start && graph.living_in[tail] == 0 {
                    continue;
                }
                let first = graph.edges.len();
                for option in 0..chain.options(layer) {
                    let (word, bit) = cheapest.place(layer, state, option);
                    if cheapest.bits[word] & bit == 0 {
                        continue;
                    }
                    let Some((state, _)) = chain.step(layer, state, option) else {
                        continue;
                    };
                    let head = (layer + 1) * states + state;
                    graph.living_in[head] += 1;
                    graph.by_option[layer][option] += 1;
                    graph.edges.push(Edge {
                        tail,
                        head,
                        option,
                        alive: true,
                    });
                }
                graph.out[tail] = (first, graph.edges.len());
                graph.living_out[tail] = graph.edges.len() - first;
            }
        }
        graph.layers.push(graph.edges.len());
        graph.link();
        graph
    }

    /// Sorts the edges by the node they lead to.
    fn link(&mut self) {
        let mut sum = 0;
        for (first, count) in self.into_first.iter_mut().zip(&self.living_in) {
            *first = sum;
            sum += count;
        }
        if let Some(last) = self.into_first.last_mut() {
            *last = sum;
        }
        let mut next = self.into_first.clone();
        self.into = vec![0; sum];
        for (i, edge) in self.edges.iter().enumerate() {
            self.into[next[edge.head]] = i;
            next[edge.head] += 1;
        }
    }

    /// Throws out all ways on which a layer has the option `without` or a lower one, if others remain.
    fn hold(&mut self, layer: usize, without: usize) {
        let living = &self.by_option[layer];
        if living.iter().skip(without + 1).all(|count| *count == 0) {
            return;
        }
        if living.iter().take(without + 1).all(|count| *count == 0) {
            return;
        }
        let mut dying: Vec<usize> = (self.layers[layer]..self.layers[layer + 1])
            .filter(|edge| self.edges[*edge].alive && self.edges[*edge].option <= without)
            .collect();
        let layers = self.by_option.len();
        let states = self.living_in.len() / (layers + 1);
        while let Some(i) = dying.pop() {
            let Edge {
                tail,
                head,
                option,
                alive,
            } = self.edges[i];
            if !alive {
                continue;
            }
            self.edges[i].alive = false;
            self.by_option[tail / states][option] -= 1;
            self.living_out[tail] -= 1;
            self.living_in[head] -= 1;
            if self.living_out[tail] == 0 {
                dying.extend(&self.into[self.into_first[tail]..self.into_first[tail + 1]]);
            }
            if self.living_in[head] == 0 {
                dying.extend(self.out[head].0..self.out[head].1);
            }
        }
    }

    /// The options of a way that lives.
    fn way(&self) -> Vec<usize> {
        let mut way = Vec::with_capacity(self.by_option.len());
        let mut node = self.start;
        for _ in 0..self.by_option.len() {
            let (first, last) = self.out[node];
            let Some(edge) = self.edges[first..last].iter().find(|edge| edge.alive) else {
                break;
            };
            way.push(edge.option);
            node = edge.head;
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Layers of options with costs; the state is the sum of the options.
    struct Sums(Vec<Vec<i128>>, usize);

    impl Chain<i128> for Sums {
        fn layers(&self) -> usize {
            self.0.len()
        }
        fn states(&self) -> usize {
            self.1 + 1
        }
        fn options(&self, layer: usize) -> usize {
            self.0[layer].len()
        }
        fn step(&self, layer: usize, state: usize, option: usize) -> Option<(usize, &i128)> {
            (state + option <= self.1).then(|| (state + option, &self.0[layer][option]))
        }
    }

    /// All ways, by brute force: cost, then the CPUs held (rank r of layer l is CPU number `ids[l][r]`).
    fn brute(chain: &Sums, ids: &[Vec<usize>]) -> Option<(i128, Vec<usize>)> {
        let mut ways: Vec<(i128, Vec<usize>, usize)> = vec![(0, Vec::new(), 0)];
        for (layer, ids) in ids.iter().enumerate() {
            let mut next = Vec::new();
            for (cost, cpus, sum) in &ways {
                for option in 0..chain.options(layer) {
                    if sum + option <= chain.1 {
                        let cpus = cpus.iter().copied().chain(ids[..option].iter().copied());
                        next.push((cost + chain.0[layer][option], cpus.collect(), sum + option));
                    }
                }
            }
            ways = next;
        }
        let full = ways.into_iter().filter(|way| way.2 == chain.1);
        let sorted = full.map(|(cost, mut cpus, _)| {
            cpus.sort_unstable();
            (cost, cpus)
        });
        sorted.min()
    }

    proptest! {
        #[test]
        fn the_lowest_of_the_cheapest_ways_is_found(
            layers in prop::collection::vec(prop::collection::vec(0_i128..3, 0..3), 1..6),
            total in 0_usize..6,
            seed in prop::collection::vec(any::<u32>(), 15),
        ) {
            // option 0 costs nothing, the others a little, so that many ways cost the same
            let layers: Vec<Vec<i128>> = layers.into_iter().map(|l| std::iter::once(0).chain(l).collect()).collect();
            let mut places: Vec<(usize, usize)> = layers
                .iter()
                .enumerate()
                .flat_map(|(l, options)| (0..options.len() - 1).map(move |r| (l, r)))
                .collect();
            places.sort_by_key(|(l, r)| seed[(l * 2 + r) % seed.len()]);
            let mut ids: Vec<Vec<usize>> = layers.iter().map(|l| vec![0; l.len() - 1]).collect();
            for (id, (l, r)) in places.iter().enumerate() {
                ids[*l][*r] = id;
            }
            let chain = Sums(layers, total);
            let found = lowest(&chain, 0, |s| s == total, places.iter().copied());
            let held = found.as_ref().map(|(cost, way)| {
                let mut cpus: Vec<usize> =
                    way.iter().zip(&ids).flat_map(|(option, ids)| ids[..*option].to_vec()).collect();
                cpus.sort_unstable();
                (*cost, cpus)
            });
            prop_assert_eq!(&held, &brute(&chain, &ids));
            prop_assert_eq!(costs(&chain, 0)[total], found.map(|(cost, _)| cost));
        }
    }
}
