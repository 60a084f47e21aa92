//! Prints the trace of sim/traces, as `mezzo sim trace` does without building all of `mezzo`.

fn main() {
    print!("{}", mezzo_scenario::gpu_cluster(mezzo_scenario::SHIPPED).to_csv());
}
