metadata description = 'Who may do what with the data, in this resource group. No key is handed to anybody.'

@description('One entry for each principal and role.')
param assignments assignmentType[]

var roleIds = {
  fhirDataContributor: '5a1fc7df-4bf1-4951-a576-89034ee01acd'
  keyVaultSecretsOfficer: 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
  monitoringMetricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb'
  storageBlobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  storageQueueDataContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  storageTableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
}

resource roleAssignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for assignment in assignments: {
  name: guid(resourceGroup().id, assignment.principalId, roleIds[assignment.role])
  properties: {
    principalId: assignment.principalId
    principalType: assignment.principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleIds[assignment.role])
  }
}]

@description('Who is given which role.')
type assignmentType = {
  @description('Object ID of the principal.')
  principalId: string

  @description('What kind of principal it is.')
  principalType: 'Group' | 'ServicePrincipal' | 'User'

  @description('The built-in role.')
  role: 'fhirDataContributor' | 'keyVaultSecretsOfficer' | 'monitoringMetricsPublisher' | 'storageBlobDataOwner' | 'storageQueueDataContributor' | 'storageTableDataContributor'
}
