metadata description = 'The identity that the function app acts by, everywhere.'

@description('Name of the identity.')
param name string

@description('Region.')
param location string

@description('Tags.')
param tags object

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

@description('Name of the identity, which is also the name of its database user.')
output name string = identity.name

@description('Resource ID of the identity.')
output resourceId string = identity.id

@description('Object ID of its service principal, to which roles are assigned.')
output principalId string = identity.properties.principalId

@description('Client ID, by which code and the database know it.')
output clientId string = identity.properties.clientId
