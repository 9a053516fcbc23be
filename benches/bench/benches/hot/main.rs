//! How long the operations between the calls take: `cargo bench -p bench`.

mod operations;

use std::error::Error;

use criterion::Criterion;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    for operation in operations::all()? {
        criterion.bench_function(operation.name, |bencher| bencher.iter(|| (operation.run)()));
    }
    criterion.final_summary();
    Ok(())
}
