metadata description = 'A virtual network: a subnet that the app sends from, and private endpoints of the services it sends to.'

@description('Name of the network.')
param name string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Addresses of the network; its first /26 is for the app, the /27 after it for the endpoints.')
param addressPrefix string

@description('The services that get a private endpoint.')
param services serviceType[]

var zoneNames = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  sqlServer: 'privatelink${environment().suffixes.sqlServerHostname}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  vault: 'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
}
var zones = items(zoneNames)

resource network 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [ addressPrefix ] }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 26, 0)
          delegations: [
            { name: 'flex-consumption', properties: { serviceName: 'Microsoft.App/environments' } }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 27, 2)
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
    ]
  }
}

resource dnsZones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zone in zones: {
  name: zone.value
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zone, index) in zones: {
  parent: dnsZones[index]
  name: 'to-network'
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: { id: network.id }
  }
}]

resource endpoints 'Microsoft.Network/privateEndpoints@2024-07-01' = [for service in services: {
  name: 'pep-${service.name}'
  location: location
  tags: tags
  properties: {
    subnet: { id: network.properties.subnets[1].id }
    privateLinkServiceConnections: [
      {
        name: service.groupId
        properties: { privateLinkServiceId: service.resourceId, groupIds: [ service.groupId ] }
      }
    ]
  }
}]

resource dnsNames 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-07-01' = [for (service, index) in services: {
  parent: endpoints[index]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: service.groupId
        properties: { privateDnsZoneId: resourceId('Microsoft.Network/privateDnsZones', zoneNames[service.groupId]) }
      }
    ]
  }
  dependsOn: [ dnsZones ]
}]

@description('Resource ID of the subnet that the app sends from.')
output appSubnetResourceId string = network.properties.subnets[0].id

@description('A service with a private endpoint.')
type serviceType = {
  @description('Short name, which the endpoint is called after.')
  name: string

  @description('Resource ID.')
  resourceId: string

  @description('Which part of the service it is.')
  groupId: 'blob' | 'queue' | 'sqlServer' | 'table' | 'vault'
}
