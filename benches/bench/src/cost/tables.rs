//! The bills, in Markdown.

use std::fmt::Write as _;

use super::bill::{Bill, Share, bare_calls};
use super::prices::Prices;
use super::{GOAL, Priced, idle};
use crate::Failure;
use crate::report::Table;

/// Shares of a bill, summed up.
const SUMS: [(&str, &[Share]); 5] = [
    (
        "**records**: trigger, queue, run, result",
        &[Share::Records],
    ),
    (
        "with the trigger's HTTP API",
        &[Share::Records, Share::Door],
    ),
    (
        "with log lines",
        &[Share::Records, Share::Door, Share::Logs],
    ),
    (
        "with polls",
        &[Share::Records, Share::Door, Share::Logs, Share::Polls],
    ),
    (
        "with the model's time",
        &[
            Share::Records,
            Share::Door,
            Share::Logs,
            Share::Polls,
            Share::Model,
        ],
    ),
];

pub(crate) fn render(priced: &[Priced], prices: &Prices) -> Result<String, Failure> {
    let small = priced.first().ok_or("there is no profile")?;
    let (records, bare) = (small.bill.sum(&[Share::Records]), bare_calls(prices)?);
    let mut text = format!(
        "Dollars for a million tasks, at list prices of {} ({}). In each cell, what one task takes, and what a \
         million cost.\n\n",
        prices.region, prices.date
    );
    for of in priced {
        writeln!(text, "- `{}`: {}.", of.profile.name, of.profile.means)?;
    }
    writeln!(text, "\n{}", bills(priced, prices)?.into_text())?;
    writeln!(
        text,
        "One put, one send and two updates of a kilobyte, without receiving and without Lambda, are ${}. \
         The records of a small task cost {:.2} times that, ${}; the goal is ${GOAL:.2}, and {}.\n",
        usd(bare),
        records / bare,
        usd(records),
        if records <= GOAL {
            "it is met"
        } else {
            "it is missed"
        },
    )?;
    writeln!(
        text,
        "A month in which nothing happens:\n\n{}",
        month(prices)?.into_text()
    )?;
    writeln!(
        text,
        "The prices. {}\n\n{}",
        prices.note,
        listed(prices).into_text()
    )?;
    Ok(text)
}

fn bills(priced: &[Priced], prices: &Prices) -> Result<Table, Failure> {
    let names: Vec<String> = priced
        .iter()
        .map(|of| format!("`{}`", of.profile.name))
        .collect();
    let mut table = Table::new(&with_head("", names.iter().map(String::as_str)));
    let lines = priced.first().map_or(0, |of| of.bill.0.len());
    for number in 0..lines {
        let row: Vec<_> = priced
            .iter()
            .filter_map(|of| of.bill.0.get(number))
            .collect();
        let Some(first) = row.first() else { continue };
        if row.iter().all(|line| line.count == 0.0) {
            continue;
        }
        let price = prices.price(first.price)?.in_words();
        let head = format!("{}, {} at {price}", first.what, first.unit);
        let cells: Vec<String> = row
            .iter()
            .map(|line| cell(line.count, line.unit, line.dollars))
            .collect();
        table.row(&with_head(&head, cells.iter().map(String::as_str)));
    }
    for (what, shares) in SUMS {
        let cells: Vec<String> = priced.iter().map(|of| sum(&of.bill, shares)).collect();
        table.row(&with_head(what, cells.iter().map(String::as_str)));
    }
    Ok(table)
}

fn with_head<'a>(head: &'a str, cells: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    std::iter::once(head).chain(cells).collect()
}

fn cell(count: f64, unit: &str, dollars: f64) -> String {
    match unit {
        _ if count == 0.0 => String::new(),
        "GB-s" => format!("{count:.5}: {}", usd(dollars)),
        "GB" => format!("{:.0} B: {}", count * 1e9, usd(dollars)),
        _ => format!("{}: {}", (count * 1000.0).round() / 1000.0, usd(dollars)),
    }
}

fn sum(bill: &Bill, shares: &[Share]) -> String {
    format!("**{}**", usd(bill.sum(shares)))
}

/// To the cent, half a cent up, as people do.
fn usd(dollars: f64) -> String {
    format!("{:.2}", (dollars * 100.0).round() / 100.0)
}

fn month(prices: &Prices) -> Result<Table, Failure> {
    let mut table = Table::new(&["", "count", "USD", "free of it"]);
    for line in idle::month(prices)? {
        table.row(&[
            line.what,
            &format!("{}", line.count),
            &usd(line.dollars),
            line.allowance,
        ]);
    }
    Ok(table)
}

fn listed(prices: &Prices) -> Table {
    let mut table = Table::new(&["of", "for", "USD", "source"]);
    for price in prices.all() {
        table.row(&[
            &price.what,
            &price.unit,
            &price.in_words(),
            &format!("<{}>", price.source),
        ]);
    }
    table
}
