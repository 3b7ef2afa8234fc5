"""Namespaces, actions and other URIs of the web services.

Specifications: sign-in reference section 2; WS-Trust 1.3 section 10 for PSHA1_KEY.
"""

from __future__ import annotations

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
WSA = "http://www.w3.org/2005/08/addressing"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
WST = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
WST_OF_PUBLISH = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/"
"""GetAndPublishCert writes WS-Trust's namespace with a slash at its end, Issue without."""
WSTEP = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
WSP = "http://schemas.xmlsoap.org/ws/2004/09/policy"
DS = "http://www.w3.org/2000/09/xmldsig#"
SAML = "urn:oasis:names:tc:SAML:1.0:assertion"
OCS = "http://schemas.microsoft.com/OCS/AuthWebServices/"
AF = "urn:component:Microsoft.Rtc.WebAuthentication.2010"
ARRAYS = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"

AUTHORIZATION = "http://schemas.xmlsoap.org/ws/2006/12/authorization"
CLAIMS = "urn:component:Microsoft.Rtc.WebAuthentication.2010:authclaims"
URI_CLAIM = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uri"
WSDL = "http://schemas.xmlsoap.org/wsdl/"
WSDL_SOAP = "http://schemas.xmlsoap.org/wsdl/soap/"
WSAW = "http://www.w3.org/2006/05/addressing/wsdl"
SECURITY_POLICY = "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702"
XML_SCHEMA = "http://www.w3.org/2001/XMLSchema"
TEMPURI = "http://tempuri.org/"

ANONYMOUS = "http://www.w3.org/2005/08/addressing/anonymous"
ISSUE_ACTION = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue"
ISSUE_RESPONSE_ACTION = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RSTRC/IssueFinal"
PUBLISH_ACTION = "http://schemas.microsoft.com/OCS/AuthWebServices/GetAndPublishCert"
ISSUE_REQUEST_TYPE = "http://schemas.xmlsoap.org/ws/2005/02/trust/Issue"
PUBLISH_REQUEST_TYPE = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue"

SAML_V1_1 = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1"
SAML_ASSERTION_ID = (
    "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID"
)
X509_V3 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3"
PKCS10 = "http://schemas.microsoft.com/OCS/AuthWebServices.xsd#PKCS10"
BASE64 = (
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd#Base64Binary"
)
PASSWORD_TEXT = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText"  # noqa: S105
SYMMETRIC_KEY = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/SymmetricKey"
PSHA1_KEY = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/CK/PSHA1"

SOAP_OVER_HTTP = "http://schemas.xmlsoap.org/soap/http"
EXCLUSIVE_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED_SIGNATURE = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
RSA_SHA1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
HMAC_SHA1 = "http://www.w3.org/2000/09/xmldsig#hmac-sha1"
SHA1 = "http://www.w3.org/2000/09/xmldsig#sha1"
