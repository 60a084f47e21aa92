//! GET_OPERATIONS.

use mezzo_mesos::v1::master::{
    Response,
    response::{GetOperations, Type},
};

use super::{View, response};

impl View<'_> {
    /// Operations that are not terminal and acknowledged.
    pub fn get_operations(&self) -> Response {
        let operations = self.snapshot.agents.values().flat_map(|agent| agent.operations.values());
        let operations = operations.map(|operation| operation.info.clone()).collect();
        Response { get_operations: Some(GetOperations { operations }), ..response(Type::GetOperations) }
    }
}
