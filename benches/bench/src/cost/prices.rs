//! AWS's list prices, from `prices.json`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Failure;

/// The file: what each price is of, its date and its source.
#[derive(Debug, Deserialize)]
pub(crate) struct Prices {
    pub(crate) region: String,
    pub(crate) date: String,
    /// How they were found.
    pub(crate) note: String,
    prices: BTreeMap<String, Price>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Price {
    dollars: f64,
    per: f64,
    pub(crate) unit: String,
    pub(crate) what: String,
    /// A page of AWS's.
    pub(crate) source: String,
}

impl Price {
    /// In words, such as `$0.4 a million`.
    pub(crate) fn in_words(&self) -> String {
        match self.per {
            1e6 => format!("${} a million", self.dollars),
            1.0 => format!("${}", self.dollars),
            per => format!("${} for {per}", self.dollars),
        }
    }
}

impl Prices {
    pub(crate) fn listed() -> Result<Self, Failure> {
        Ok(serde_json::from_str(include_str!("../../prices.json"))?)
    }

    pub(crate) fn price(&self, name: &str) -> Result<&Price, Failure> {
        Ok(self
            .prices
            .get(name)
            .ok_or_else(|| format!("prices.json has no {name}"))?)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Price> {
        self.prices.values()
    }

    /// Dollars for one unit.
    pub(crate) fn of(&self, name: &str) -> Result<f64, Failure> {
        let price = self.price(name)?;
        Ok(price.dollars / price.per)
    }

    /// Dollars for a million units.
    pub(crate) fn of_million(&self, name: &str) -> Result<f64, Failure> {
        Ok(self.of(name)? * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_says_what_it_is_of_and_which_page_of_aws_says_so() {
        let prices = Prices::listed().unwrap();
        for (name, price) in &prices.prices {
            assert!(price.dollars > 0.0 && price.per >= 1.0, "{name}");
            assert!(!price.unit.is_empty() && !price.what.is_empty(), "{name}");
            assert!(
                price.source.starts_with("https://aws.amazon.com/"),
                "{name}"
            );
        }
    }
}
