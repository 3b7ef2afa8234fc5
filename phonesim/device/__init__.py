"""The phone, pure: machines that turn events and the time into actions.

`phone.Phone` joins the sub-machines (`dhcp_client`, `resolver`, `discovery`,
`clock`, `sign_in`, `registration`, `cache`); siblings never import each other.
"""
