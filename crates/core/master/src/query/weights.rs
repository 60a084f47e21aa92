//! GET_WEIGHTS.

use mezzo_mesos::v1::{
    self,
    master::{
        Response,
        response::{GetWeights, Type},
    },
};

use super::{View, response};

impl View<'_> {
    /// Weights that were set, by role (rule 150). Without any the answer has no list at all, as in Mesos.
    pub fn get_weights(&self) -> Response {
        let weights = self.snapshot.weights.iter();
        let weight_infos: Vec<_> = weights
            .map(|(role, weight)| v1::WeightInfo { weight: *weight, role: Some(role.to_string()) })
            .collect();
        let get_weights = (!weight_infos.is_empty()).then_some(GetWeights { weight_infos });
        Response { get_weights, ..response(Type::GetWeights) }
    }
}
